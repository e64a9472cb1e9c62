"""The shapes that both sides train. bench/nn/peer_step_bench.cpp holds the same ones, and the same token and length formulas."""

# classes 0: a language model with a tied output projection; otherwise an encoder with mean pooling.
SHAPES = {
    "gpt-small": {"layers": 4, "heads": 4, "width": 128, "block": 64, "batch": 12, "vocabulary": 65, "classes": 0},
    "gpt-medium": {"layers": 6, "heads": 6, "width": 384, "block": 256, "batch": 8, "vocabulary": 65, "classes": 0},
    "ragged-encoder": {"layers": 4, "heads": 4, "width": 256, "block": 256, "batch": 64, "vocabulary": 8000,
                       "classes": 20},
}


def lengths(shape):
    """Every sequence `block` long for a language model, 8 to 256 for the encoder."""
    if not shape["classes"]:
        return [shape["block"]] * shape["batch"]
    return [8 + (97 * i + 13) % (shape["block"] - 7) for i in range(shape["batch"])]


def token_ids(count, vocabulary):
    return [(i * 7919 + i // 13) % vocabulary for i in range(count)]
