"""Training steps in PyTorch, for comparison: a nanoGPT-shaped language model and a padded text encoder.

Reads one JSON request a line, {"shape": ..., "mode": "eager" | "compiled", "precision": "float32" | "bf16", "steps": n}, answers with one JSON line,
{"step_ms": [...], "loss": ...}. run.py starts it and lets it take turns with Fovea.
"""
import json
import resource
import sys
import time

import torch
import torch.nn.functional as F
from torch import nn

import shapes


def resident_bytes():
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * resource.getpagesize()


class Block(nn.Module):
    def __init__(self, width, heads, causal):
        super().__init__()
        self.heads, self.causal = heads, causal
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x, mask):
        b, t, c = x.shape
        q, k, v = self.qkv(self.norm1(x)).view(b, t, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=self.causal)
        x = x + self.out(y.transpose(1, 2).reshape(b, t, c))
        return x + self.down(F.gelu(self.up(self.norm2(x))))


class Model(nn.Module):
    """A GPT when `classes` is 0 (logits for each token, tied embedding), otherwise a mean-pooled encoder."""

    def __init__(self, shape):
        super().__init__()
        self.shape = shape
        width = shape["width"]
        self.token = nn.Embedding(shape["vocabulary"], width)
        self.position = nn.Embedding(shape["block"], width)
        causal = shape["classes"] == 0
        self.blocks = nn.ModuleList(Block(width, shape["heads"], causal) for _ in range(shape["layers"]))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, shape["classes"] or shape["vocabulary"], bias=not causal)
        if causal:
            self.head.weight = self.token.weight
        for parameter in self.parameters():
            if parameter.dim() > 1:
                nn.init.normal_(parameter, std=0.02)

    def forward(self, ids, targets, lengths):
        x = self.token(ids) + self.position(torch.arange(ids.shape[1]))
        if lengths is None:
            mask = None
        else:
            present = torch.arange(ids.shape[1])[None, :] < lengths[:, None]
            mask = present[:, None, None, :]
        for block in self.blocks:
            x = block(x, mask)
        x = self.norm(x)
        if lengths is not None:
            x = (x * present[:, :, None]).sum(1) / lengths[:, None]
        logits = self.head(x)
        return F.cross_entropy(logits.reshape(-1, logits.shape[-1]), targets.reshape(-1))


class Trainer:
    def __init__(self, shape, mode, precision):
        torch.manual_seed(0)
        self.autocast = precision == "bf16"
        before = resident_bytes()
        self.model = Model(shape)
        step = self.model if mode == "eager" else torch.compile(self.model)
        decayed = [p for p in self.model.parameters() if p.dim() > 1]
        plain = [p for p in self.model.parameters() if p.dim() <= 1]
        self.optimizer = torch.optim.AdamW(
            [{"params": decayed, "weight_decay": 0.1}, {"params": plain, "weight_decay": 0.0}],
            lr=1e-3, betas=(0.9, 0.99), fused=True)
        self.step_function, self.before = step, before
        self.lengths = shapes.lengths(shape)
        longest = max(self.lengths)
        self.ids = torch.zeros(len(self.lengths), longest, dtype=torch.long)
        flat = shapes.token_ids(sum(self.lengths), shape["vocabulary"])
        start = 0
        for row, length in enumerate(self.lengths):
            self.ids[row, :length] = torch.tensor(flat[start:start + length])
            start += length
        if shape["classes"]:
            self.targets = torch.tensor([i % shape["classes"] for i in range(len(self.lengths))])
            self.length_tensor = torch.tensor(self.lengths)
        else:
            self.targets = self.ids.roll(-1, 1)
            self.length_tensor = None

    def step(self):
        self.optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=self.autocast):
            loss = self.step_function(self.ids, self.targets, self.length_tensor)
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        return loss

    def peak_bytes(self):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - self.before


def main():
    torch.set_num_threads(int(sys.argv[1]))
    trainers = {}
    for line in sys.stdin:
        request = json.loads(line)
        key = request["shape"], request["mode"], request["precision"]
        if key not in trainers:
            trainers[key] = Trainer(shapes.SHAPES[request["shape"]], *key[1:])
            for _ in range(request.get("warmup", 5)):
                trainers[key].step()
        times = []
        for _ in range(request["steps"]):
            start = time.perf_counter()
            loss = trainers[key].step().item()
            times.append(1e3 * (time.perf_counter() - start))
        print(json.dumps({"step_ms": times, "loss": loss, "peak_bytes": trainers[key].peak_bytes()}), flush=True)


if __name__ == "__main__":
    main()
