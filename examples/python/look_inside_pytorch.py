"""Fovea in a PyTorch model: replace its attention, look inside, train it.

Runs in cells (`# %%`) in editors that know them, or from top to bottom:
    .venv/bin/python examples/python/look_inside_pytorch.py
"""

# %% A model as people write them. It learns to say, for each place of a sequence, what stood at the place that the
# first token names: something that only attention can do.
import sys
import time

import numpy as np
import torch
from torch import nn

import fovea
import fovea.torch

torch.manual_seed(0)
LENGTH, SYMBOLS, WIDTH = 24, 16, 64


def batch(size: int) -> tuple[torch.Tensor, torch.Tensor]:
    tokens = torch.randint(0, SYMBOLS, (size, LENGTH))
    tokens[:, 0] = torch.randint(1, LENGTH, (size,)) + SYMBOLS  # the place to look at
    answer = tokens.gather(1, tokens[:, :1] - SYMBOLS).squeeze(1)
    return tokens, answer


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.tokens = nn.Embedding(SYMBOLS + LENGTH, WIDTH)
        self.places = nn.Embedding(LENGTH, WIDTH)
        layer = nn.TransformerEncoderLayer(WIDTH, 4, 2 * WIDTH, dropout=0.0, batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(WIDTH, SYMBOLS)
        with torch.no_grad():  # what names a place begins as that place, so that a short training is enough
            self.tokens.weight[SYMBOLS:] = self.places.weight

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        x = self.tokens(tokens) + self.places.weight
        return self.head(self.encoder(x)[:, 0])


model = Model()


# %% Replace its attention: the same parameters, the same results.
def replace_attention(module: nn.Module) -> int:
    count = 0
    for name, child in module.named_children():
        if type(child) is nn.MultiheadAttention:
            ours = fovea.torch.MultiheadAttention(
                child.embed_dim, child.num_heads, dropout=child.dropout, batch_first=child.batch_first
            )
            ours.load_state_dict(child.state_dict())
            setattr(module, name, ours)
            count += 1
        else:
            count += replace_attention(child)
    return count


tokens, answer = batch(64)
before = model(tokens)
print("replaced", replace_attention(model), "attention layers")
difference = (model(tokens) - before).abs().max().item()
print(f"largest difference of the logits: {difference:.1e}")
assert difference < 1e-4

# %% Train it, as before.
steps = int(sys.argv[1]) if len(sys.argv) > 1 else 300
optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
start = time.time()
for step in range(steps):
    tokens, answer = batch(128)
    loss = nn.functional.cross_entropy(model(tokens), answer)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if step % 50 == 0:
        print(f"step {step}: loss {loss.item():.3f}")
tokens, answer = batch(512)
with torch.no_grad():
    accuracy = (model(tokens).argmax(-1) == answer).float().mean().item()
print(f"accuracy {accuracy:.3f} after {steps} steps, {time.time() - start:.1f} s")

# %% Look inside: which heads look where the first token says? No matrix of weights is made for this.
model.eval()
with torch.no_grad():
    x = model.tokens(tokens) + model.places.weight
    for number, layer in enumerate(model.encoder.layers):
        attention = layer.self_attn
        heads = nn.functional.linear(layer.norm1(x), attention.in_proj_weight, attention.in_proj_bias)
        q, k, v = (h.unflatten(-1, (4, WIDTH // 4)).transpose(1, 2) for h in heads.chunk(3, dim=-1))
        out, seen = fovea.attention(q, k, v, observe=["entropy", "max", "key_mass"])
        named = tokens[:, 0] - SYMBOLS
        looks = (seen.max_key[:, :, 0] == named[:, None]).float().mean(0)
        for head in range(4):
            print(
                f"layer {number} head {head}: the first token's strongest key is the named place in "
                f"{100 * looks[head]:.0f} % of the sequences; entropy {seen.entropy[:, head, 0].mean():.2f} nats"
            )
        x = layer(x)

# %% A picture of the last layer: heat map, entropy of each head, mass that each key received.
try:
    figure = seen.plot(batch=0)
    figure.savefig(sys.argv[2] if len(sys.argv) > 2 else "attention.png", dpi=80)
except ImportError as error:
    print(error)

# %% The exact weights of one query, computed now: they sum to one.
rows = seen.rows([0])
print("weights of the first query:", np.round(rows[0, :, 0].sum(-1).numpy(), 4))
