# The tasks of everyday work; `just` lists them.

default:
    @just --list

# what guards main
check: fmt-check clippy test doc

fmt-check:
    cargo fmt --all -- --check

clippy:
    cargo clippy --all-targets -- -D warnings

test:
    cargo test

doc:
    RUSTDOCFLAGS="-D warnings" cargo doc --no-deps

# the first picture
paint:
    cargo run --release -- render recipes/first-light.yaml

# step times beside PyTorch's (needs a Python with torch and transformers)
bench python="python3":
    cargo bench --bench clip_step
    {{python}} benches/peers/clip_step.py
    cargo bench --bench cellular
    {{python}} benches/peers/cellular.py
    cargo bench --bench judge

# whether HEAD paints, judges and writes what another commit does (needs a Python with numpy, Pillow and PyYAML)
same-bytes old python="python3":
    {{python}} tools/same-bytes {{old}} HEAD

# licences, sources and advisories of all dependencies
deny:
    cargo deny check
