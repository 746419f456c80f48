#!/usr/bin/env python3
"""`flg sample` and diffusers' WanPipeline on the same files, in turn, A B A B ..., and the ratios (theirs / ours).

  published_pytorch.py --ours target/release/flg --model DIR --embeddings FILE [--height 480 --width 832 --frames 5 --steps 2]
      [--rounds 2] [--max-memory 4GiB]

Both read one folder of diffusers' layout and one file with `prompt_embeds` and `negative_prompt_embeds`, denoise with
guidance, decode, and write frames. diffusers computes in f32, the faster of its types on a CPU without bf16 units. Ours
runs twice a round where --max-memory is given: with all memory, and with as little. Times are of whole processes, and
of what is inside them; memory is the largest resident set. One JSON line a run, then the medians.
"""
import argparse, json, os, resource, subprocess, sys, tempfile, time


def theirs(a):
    start = time.perf_counter()
    import torch
    from diffusers import AutoencoderKLWan, FlowMatchEulerDiscreteScheduler, WanPipeline, WanTransformer3DModel
    from safetensors.torch import load_file

    if a.threads:
        torch.set_num_threads(a.threads)
    transformer = WanTransformer3DModel.from_pretrained(a.model, subfolder="transformer", torch_dtype=torch.float32)
    vae = AutoencoderKLWan.from_pretrained(a.model, subfolder="vae", torch_dtype=torch.float32)
    scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0)
    pipe = WanPipeline(tokenizer=None, text_encoder=None, transformer=transformer, vae=vae, scheduler=scheduler)
    pipe.set_progress_bar_config(disable=True)
    embeds = {name: tensor.float() for name, tensor in load_file(a.embeddings).items()}
    ready = time.perf_counter()
    marks = []
    whole = vae.decode
    vae.decode = lambda *args, **kw: (marks.append(time.perf_counter()), whole(*args, **kw))[1]
    with torch.inference_mode():
        frames = pipe(prompt_embeds=embeds["prompt_embeds"], negative_prompt_embeds=embeds["negative_prompt_embeds"],
                      height=a.height, width=a.width, num_frames=a.frames, num_inference_steps=a.steps,
                      guidance_scale=5.0, generator=torch.Generator().manual_seed(0), output_type="np").frames
    end = time.perf_counter()
    assert frames.shape[1:4] == (a.frames, a.height, a.width), frames.shape
    phases = {"load": ready - start, "denoise": marks[0] - ready, "decode": end - marks[0]}
    print(json.dumps({"seconds_by_phase": phases}))


def run(name, command):
    start = time.perf_counter()
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        child = subprocess.Popen(command, stdout=out, stderr=err)
        _, status, usage = os.wait4(child.pid, 0)
        seconds = time.perf_counter() - start
        out.seek(0), err.seek(0)
        if status:
            sys.exit(f"{name} failed: {err.read().decode()[-2000:]}")
        lines = [line for line in out.read().decode().splitlines() if line.startswith("{")]
    phases = {phase: round(value, 2) for phase, value in json.loads(lines[-1])["seconds_by_phase"].items()}
    row = {"who": name, "seconds": round(seconds, 2), "GiB": round(usage.ru_maxrss / 2**20, 2), **phases}
    print(json.dumps(row), flush=True)
    return row


def median(values):
    values = sorted(values)
    return (values[(len(values) - 1) // 2] + values[len(values) // 2]) / 2


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--ours", default="target/release/flg")
    p.add_argument("--model", required=True)
    p.add_argument("--embeddings", required=True)
    p.add_argument("--max-memory")
    for name, default in [("height", 480), ("width", 832), ("frames", 5), ("steps", 2), ("rounds", 2), ("threads", 0)]:
        p.add_argument(f"--{name}", type=int, default=default)
    p.add_argument("--theirs", action="store_true", help=argparse.SUPPRESS)
    a = p.parse_args()
    if a.theirs:
        return theirs(a)
    extents = [f"--{name}={getattr(a, name)}" for name in ["height", "width", "frames", "steps"]]
    threads = [f"--threads={a.threads}"] if a.threads else []
    same = ["--model", a.model, "--embeddings", a.embeddings, *extents, *threads]
    rows = {}
    with tempfile.TemporaryDirectory() as folder:
        flg = [a.ours, "sample", *same, "--solver=diffusers-euler", "--shift=3", "--guidance=5", "--json", "-o",
               f"{folder}/clip.npy"]
        turns = {"flg": flg, "diffusers": [sys.executable, __file__, *same, "--theirs"]}
        if a.max_memory:
            turns[f"flg --max-memory {a.max_memory}"] = [*flg, "--max-memory", a.max_memory]
        for _ in range(a.rounds):
            for name, command in turns.items():
                rows.setdefault(name, []).append(run(name, command))
    for name in rows:
        if name != "diffusers":
            ratio = median([t["seconds"] / o["seconds"] for t, o in zip(rows["diffusers"], rows[name])])
            memory = median([o["GiB"] / t["GiB"] for t, o in zip(rows["diffusers"], rows[name])])
            print(f"{name}: {ratio:.2f} times as fast as diffusers in {memory:.2f} of its memory")


if __name__ == "__main__":
    main()
