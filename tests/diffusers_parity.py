#!/usr/bin/env python3
"""Does a checkpoint load in diffusers, and do both compute the same? For machines with PyTorch; no test needs it.

    pip install torch diffusers accelerate safetensors
    python3 tests/diffusers_parity.py runs/distill/model

Loads the checkpoint as diffusers' WanTransformer3DModel, runs it and `flg forward` on the same random inputs, once with
a time for every sample and once with a time for every token (the first frame clean), and compares: in f32 no element may
differ by more than 5e-5. Exits 0 if all agree and 1 if not.
"""

import argparse
import pathlib
import shlex
import subprocess
import sys
import tempfile

import diffusers
import torch
from safetensors.torch import load_file, save_file

LIMIT = 5e-5


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=pathlib.Path, help="folder of a checkpoint, or of its transformer")
    parser.add_argument("--flg", default="cargo run --release --quiet --", help="how to call flg")
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--frames", type=int, default=8, help="latent frames")
    parser.add_argument("--height", type=int, default=16, help="latent rows")
    parser.add_argument("--width", type=int, default=16, help="latent columns")
    parser.add_argument("--words", type=int, default=4, help="rows of the text embedding")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def load(folder):
    subfolder = "transformer" if (folder / "transformer").is_dir() else None
    model = diffusers.WanTransformer3DModel.from_pretrained(folder, subfolder=subfolder, torch_dtype=torch.float32)
    return model.eval()


def random_inputs(args, config):
    generator = torch.Generator().manual_seed(args.seed)
    latents = (args.batch, config.in_channels, args.frames, args.height, args.width)
    return {
        "hidden_states": torch.randn(latents, generator=generator),
        "encoder_hidden_states": torch.randn((args.batch, args.words, config.text_dim), generator=generator),
        "timestep": 1000 * torch.rand(args.batch, generator=generator),
    }


def first_frame_clean(inputs, config):
    """The same inputs with a time for every token: 0 in the first frame."""
    batch, _, *extents = inputs["hidden_states"].shape
    frames, rows, columns = (extent // patch for extent, patch in zip(extents, config.patch_size))
    times = inputs["timestep"].reshape(batch, 1, 1).repeat(1, frames, rows * columns)
    times[:, 0] = 0
    return {**inputs, "timestep": times.reshape(batch, -1)}


def ours(args, inputs):
    with tempfile.TemporaryDirectory() as folder:
        source, target = (str(pathlib.Path(folder) / name) for name in ("in.safetensors", "out.safetensors"))
        save_file({name: tensor.contiguous() for name, tensor in inputs.items()}, source)
        call = ["forward", "--quiet", "--model", str(args.model), "--inputs", source, "--output", target]
        subprocess.run(shlex.split(args.flg) + call, check=True, stdout=subprocess.DEVNULL)
        return load_file(target)["sample"]


def main():
    args = arguments()
    model = load(args.model)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    print(f"{args.model}: {model.config.num_layers} blocks, {parameters} parameters, diffusers {diffusers.__version__}")
    inputs = random_inputs(args, model.config)
    agree = True
    cases = {"a time a sample": inputs, "a time a token": first_frame_clean(inputs, model.config)}
    for name, case in cases.items():
        with torch.no_grad():
            theirs = model(**case, return_dict=False)[0]
        got = ours(args, case)
        if got.shape != theirs.shape:
            print(f"{name}: {tuple(got.shape)}, expected {tuple(theirs.shape)}")
            agree = False
            continue
        difference = (got - theirs).abs().max().item()
        # Not `>`: a NaN must not pass.
        passed = difference <= LIMIT
        print(f"{name}: largest difference {difference:.1e}, limit {LIMIT:.0e}: {'agrees' if passed else 'DIFFERS'}")
        agree &= passed
    sys.exit(0 if agree else 1)


if __name__ == "__main__":
    main()
