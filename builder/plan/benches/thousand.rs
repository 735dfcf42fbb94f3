//! How long a Dockerfile of a thousand instructions takes to read and to plan: medians of many
//! rounds, in microseconds, on standard output. `cargo bench -p cooper-plan` runs it. It judges no
//! time; docs/performance.md holds what was measured.

use cooper_image::Platform;
use cooper_plan::build::{Planned, plan};
use cooper_plan::request::PlanRequest;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::time::Instant;

/// Ten stages of a hundred instructions each: what people write, with variables and heredocs.
fn thousand() -> String {
    let mut text = String::from("# syntax=docker/dockerfile:1\n");
    for stage in 0..10 {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "FROM scratch AS s{stage}\nARG VERSION=1.{stage}\nENV ROOT=/srv/${{VERSION}} MODE=on");
        for step in 0..24 {
            let _ = writeln!(text, "WORKDIR $ROOT/{step}\nCOPY --chown=1:1 a{step} b{step}/ ./");
            let _ = writeln!(text, "RUN make --jobs=4 \\\n    target-{step} && \\\n    echo \"${{MODE:-off}}\"");
            let _ = writeln!(text, "RUN <<EOF\nset -e\ninstall {step}\nEOF");
        }
        let _ = writeln!(text, "CMD [\"/bin/app\", \"--stage={stage}\"]");
        if stage > 0 {
            let _ = writeln!(text, "COPY --from=s{} /srv /srv", stage - 1);
        }
    }
    text
}

fn request() -> PlanRequest {
    let platform = Platform::host();
    PlanRequest {
        target: None,
        build_args: BTreeMap::new(),
        platform: platform.clone(),
        build_platform: platform,
        no_cache_filter: Vec::new(),
        contexts: Default::default(),
    }
}

/// The median of some rounds, in microseconds.
fn median(mut round: impl FnMut()) -> u128 {
    const ROUNDS: usize = 201;
    let mut times: Vec<u128> = (0..ROUNDS)
        .map(|_| {
            let begun = Instant::now();
            round();
            begun.elapsed().as_micros()
        })
        .collect();
    times.sort_unstable();
    times.get(ROUNDS / 2).copied().unwrap_or_default()
}

fn main() {
    let (text, request) = (thousand(), request());
    let read = || cooper_dockerfile::parse(&text).dockerfile.expect("the file stands");
    let file = read();
    let count = file.stages.iter().map(|s| s.instructions.len() + 1).sum::<usize>();
    let planned = || matches!(plan(&file, &request, &BTreeMap::new()), Ok(Planned::Ready(_)));
    assert!(planned(), "the file can be planned");
    let (reading, planning) = (median(|| drop(read())), median(|| assert!(planned())));
    let _ = writeln!(
        std::io::stdout(),
        "{count} instructions, {} bytes: parse {reading} µs, plan {planning} µs",
        text.len()
    );
}
