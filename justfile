# What there is to run; https://just.systems. Every recipe is one or a few plain commands.

# Lists the recipes.
default:
    @just --list

# Format, lints, documentation, sizes of files.
check: size
    cargo fmt --all -- --check
    cargo clippy --workspace --all-targets -- -D warnings
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps

# All tests of all crates.
test:
    cargo test

# Everything that a change must pass.
ci:
    .ci/run

# The whole pipeline; for instance `just demo --preset counter --from-scratch`.
demo *args:
    cargo run --release -- demo {{ args }}

# Times kernels; the filter is a regular expression over names such as `layer_norm/forward/4096x384`.
bench filter="":
    cargo bench --bench kernels -- {{ quote(filter) }}

# Times matrix products beside those of other crates; the filter is over `gemm/nt/2048x384x1536/ours` and the like.
bench-peers filter="":
    cargo bench --bench gemm_peers -- {{ quote(filter) }}

# Times whole steps; the filter is a regular expression over `S/train`, `S/sample`, `demo/train`, `demo/sample`.
bench-steps filter="":
    cargo bench --bench steps -- {{ quote(filter) }}

# Counts instructions of the hottest kernels under valgrind; `just instructions --accept` accepts the counts of now.
instructions *args:
    .ci/instructions {{ args }}

# Anything on the emulated CUDA driver; without a command, all tests with the feature `cuda`.
emulated *command:
    .ci/emulated {{ command }}

# Counts what kernels do on an emulated GPU, with the bounds on time that follow; the filter is `gpu/gemm` and the like.
bench-gpu filter="gpu":
    .ci/emulated cargo bench --features cuda --bench gpu -- {{ quote(filter) }}

# No source file beyond 500 lines, tests not counted.
size:
    .ci/size

# Compares with fixtures of your own, laid out as tests/fixtures.
fixtures folder:
    FLG_FIXTURES={{ quote(folder) }} cargo test --test parity -- --nocapture

# Compares a checkpoint with diffusers; needs Python with torch, diffusers, accelerate and safetensors.
diffusers model:
    python3 tests/diffusers_parity.py {{ quote(model) }}
