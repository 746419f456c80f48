#!/usr/bin/env python3
"""Does a compressed checkpoint load in diffusers, and does it compute there what it computes here? For machines with
PyTorch; no test needs it.

    pip install torch diffusers transformers accelerate safetensors
    cargo build && python3 tests/diffusers_loads_student.py --flg target/debug/flg

For text to video and for image to video: makes a small pipeline (the fixture's transformer, a tiny autoencoder and text
encoder) and an encoded data set, as `flg data encode` would write it; prunes a block away and distills for some steps;
loads what is left with `WanTransformer3DModel.from_pretrained` and compares it with `flg forward` (in f32 no element may
differ by more than 5e-5); then loads the whole folder as a pipeline, tells it the levels in the words of the model card,
samples, and looks whether the levels were those of the schedule. Exits 0 if all agree.
"""

import argparse
import hashlib
import json
import pathlib
import shlex
import shutil
import subprocess
import sys
import tempfile

import diffusers
import PIL.Image
import torch
import transformers
from safetensors.torch import load_file, save_file

LIMIT = 5e-5
FIXTURES = pathlib.Path(__file__).parent / "fixtures"
STEPS = ["--preset=wan", "--set=run.precision=f32", "--set=prune.random_steps=1", "--set=prune.fixed_steps=2",
         "--set=prune.validation_clips=2", "--set=distill.steps=2", "--set=distill.guard_every=0",
         "--set=distill.critic_rank=2", "--set=distill.critic_warmup=1", "--set=prune.optimizer.lr=1e-3",
         "--set=distill.generator.lr=1e-3"]


def encoded(folder, config, extents):
    """An encoded data set of random numbers."""
    draw = torch.Generator().manual_seed(0)
    rand = lambda *shape: torch.randn(shape, generator=draw)  # noqa: E731
    rows, latents = 12, [config["out_channels"], *extents]
    beside, image = config["in_channels"] - config["out_channels"], config.get("image_dim")

    def write(file, tensors, **texts):
        path = folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(tensors, path, texts)
        return {"file": file, "bytes": path.stat().st_size, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}

    def text(name, caption):
        return write(name, {"embedding": rand(5, config["text_dim"])}, caption=caption)

    def clip(i):
        tensors = {"latents": rand(*latents)}
        tensors |= {"image": rand(17, image)} if image else {}
        tensors |= {"channels": rand(beside, *extents)} if beside else {}
        split = "training" if i < 4 else "held-out"
        file = write(f"clips/{i:06}.safetensors", tensors, name=str(i), caption="a dog", split=split)
        return {"name": str(i), "caption": 0, "split": split, "file": file}

    form = {"latents": latents, "text_rows": rows, "text_dim": config["text_dim"],
            "image": {"rows": 17, "dim": image} if image else None, "channels": beside, "stored": "f32",
            "encoders": {"vae": "random", "text": "random", "temporal_scale": 4, "spatial_scale": 8}}
    manifest = {"version": 1, "form": form, "null": text("null.safetensors", ""),
                "captions": [{"text": "a dog", "file": text("texts/000000.safetensors", "a dog")}],
                "clips": [clip(i) for i in range(6)]}
    (folder / "encoded.json").write_text(json.dumps(manifest))


def pipeline(folder, fixture, config):
    """A pipeline around the fixture's transformer: tiny, but with every part."""
    shutil.copytree(fixture, folder / "transformer", ignore=shutil.ignore_patterns(
        "meta.json", "inputs*", "outputs*", "activations*", "grads*"))
    vae = diffusers.AutoencoderKLWan(base_dim=3, z_dim=config["out_channels"], num_res_blocks=1,
                                     latents_mean=[0.0] * config["out_channels"], latents_std=[1.0] * config["out_channels"])
    vae.save_pretrained(folder / "vae")
    text = transformers.UMT5EncoderModel(transformers.UMT5Config(
        vocab_size=64, d_model=config["text_dim"], d_kv=4, num_heads=2, d_ff=8, num_layers=1, num_decoder_layers=1))
    text.save_pretrained(folder / "text_encoder")
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("\u2581a", -1.0), ("\u2581dog", -2.0)]
    transformers.T5TokenizerFast(vocab=pieces, extra_ids=0).save_pretrained(folder / "tokenizer")
    scheduler = diffusers.UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0)
    scheduler.save_pretrained(folder / "scheduler")
    index = {"_class_name": "WanImageToVideoPipeline" if config.get("image_dim") else "WanPipeline",
             "_diffusers_version": diffusers.__version__, "transformer": ["diffusers", "WanTransformer3DModel"],
             "vae": ["diffusers", "AutoencoderKLWan"], "text_encoder": ["transformers", "UMT5EncoderModel"],
             "scheduler": ["diffusers", "UniPCMultistepScheduler"], "tokenizer": ["transformers", "T5TokenizerFast"]}
    if config.get("image_dim"):
        vision = transformers.CLIPVisionConfig(hidden_size=config["image_dim"], intermediate_size=16, num_hidden_layers=2,
                                               num_attention_heads=2, image_size=8, patch_size=2)
        transformers.CLIPVisionModel(vision).save_pretrained(folder / "image_encoder")
        processor = transformers.CLIPImageProcessor(size={"shortest_edge": 8}, crop_size=8)
        processor.save_pretrained(folder / "image_processor")
        index |= {"image_encoder": ["transformers", "CLIPVisionModel"],
                  "image_processor": ["transformers", "CLIPImageProcessor"]}
    (folder / "model_index.json").write_text(json.dumps(index))


def inputs_of(config, extents):
    draw = torch.Generator().manual_seed(1)
    rand = lambda *shape: torch.randn(shape, generator=draw)  # noqa: E731
    inputs = {"hidden_states": rand(2, config["in_channels"], *extents),
              "encoder_hidden_states": rand(2, 512 if config.get("image_dim") else 12, config["text_dim"]),
              "timestep": torch.tensor([999.0, 400.0])}
    if config.get("image_dim"):
        inputs["encoder_hidden_states_image"] = rand(2, 17, config["image_dim"])
    return inputs


def compare(flg, model, folder, inputs, work):
    source, target = work / "in.safetensors", work / "out.safetensors"
    save_file(inputs, source)
    flg("forward", "--model", folder, "--inputs", source, "--output", target)
    with torch.no_grad():
        theirs = model(**inputs, return_dict=False)[0]
    difference = (load_file(target)["sample"] - theirs).abs().max().item()
    # Not `>`: a NaN must not pass.
    passed = difference <= LIMIT
    print(f"  {folder.parent.name}/{folder.name}: {model.config.num_layers} blocks, largest difference {difference:.1e}, "
          f"limit {LIMIT:.0e}: {'agrees' if passed else 'DIFFERS'}")
    return passed


def sampled(folder, config, extents):
    """Whether the folder is a pipeline that samples."""
    pipe = diffusers.DiffusionPipeline.from_pretrained(folder, dtype=torch.float32)
    parts = sorted(name for name, part in pipe.components.items() if part is not None)
    print(f"  {type(pipe).__name__} with {', '.join(parts)}")
    pipe.set_progress_bar_config(disable=True)
    # The lines of the card between loading and sampling.
    code = (folder / "README.md").read_text().split("```python\n")[1].split("```")[0].splitlines()
    first = next(i for i, line in enumerate(code) if line.startswith("levels"))
    exec("\n".join(code[first:-1]), {"pipe": pipe})
    schedule = json.loads((folder / "scheduler/flg_few_step.json").read_text())
    frames, height, width = extents
    draw = torch.Generator().manual_seed(2)
    embeds = torch.randn(1, 512, config["text_dim"], generator=draw)
    more = {}
    if config.get("image_dim"):
        more = {"image": PIL.Image.new("RGB", (8 * width, 8 * height), (200, 100, 50))}
    video = pipe(prompt_embeds=embeds, height=8 * height, width=8 * width, num_frames=4 * (frames - 1) + 1, guidance_scale=1.0,
                 num_inference_steps=len(schedule["sigmas"]), output_type="pt", generator=draw, **more).frames
    good = bool(torch.isfinite(video).all())
    print(f"  sampled {tuple(video.shape)}: {'finite' if good else 'NOT FINITE'}")
    apart = (pipe.scheduler.sigmas[:-1] - torch.tensor(schedule["sigmas"])).abs().max().item()
    same = apart <= 1e-6 and pipe.scheduler.config.stochastic_sampling == (schedule["rule"] == "renoise")
    print(f"  levels {apart:.1e} from the schedule's, rule {schedule['rule']}: {'agree' if same else 'DIFFER'}")
    return good and same


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--flg", default="cargo run --release --quiet --", help="how to call flg")
    args = parser.parse_args()
    agree = True
    for name, extents in [("wan_t2v", (3, 4, 6)), ("wan_i2v", (3, 4, 4))]:
        with tempfile.TemporaryDirectory() as place:
            work = pathlib.Path(place)
            config = json.loads((FIXTURES / name / "config.json").read_text())
            pipeline(work / "wan", FIXTURES / name, config)
            encoded(work / "clips", config, extents)

            def flg(*call):
                call = [*shlex.split(args.flg), *map(str, call), "--quiet"]
                subprocess.run(call, check=True, stdout=subprocess.DEVNULL)

            print(name)
            flg("prune", *STEPS, "--model", work / "wan", "--world", work / "clips", "--remove", "1", "--out", work / "p")
            flg("distill", *STEPS, "--model", work / "p", "--out", work / "d")
            for folder in [work / "p/model", work / "p/pruned", work / "d/model"]:
                model = diffusers.WanTransformer3DModel.from_pretrained(folder, subfolder="transformer").eval()
                agree &= compare(flg, model, folder, inputs_of(config, extents), work)
            agree &= sampled(work / "d/model", config, extents)
    sys.exit(0 if agree else 1)


if __name__ == "__main__":
    main()
