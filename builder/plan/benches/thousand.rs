//! How long a Dockerfile of a thousand instructions takes to read and to plan, and the keys of its steps to make. `cargo bench -p cooper-plan
//! --bench thousand` runs it. It judges no time; docs/performance.md holds what was measured.

use cooper_image::{ChainId, DiffId, Digest, Platform};
use cooper_plan::build::{Planned, plan};
use cooper_plan::key::{Given, copy_key, exec_key};
use cooper_plan::op::Op;
use cooper_plan::request::PlanRequest;
use criterion::{Criterion, criterion_group, criterion_main};
use std::collections::BTreeMap;
use std::fmt::Write as _;

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
        aliases: cooper_image::Aliases::default(),
        contexts: Default::default(),
    }
}

fn thousand_instructions(c: &mut Criterion) {
    let (text, request) = (thousand(), request());
    let read = || cooper_dockerfile::parse(&text).dockerfile.expect("the file stands");
    let file = read();
    let count = file.stages.iter().map(|s| s.instructions.len() + 1).sum::<usize>();
    let planned = || plan(&file, &request, &BTreeMap::new());
    assert!(matches!(planned(), Ok(Planned::Ready(_))), "the file can be planned");
    let mut group = c.benchmark_group(format!("{count} instructions, {} bytes", text.len()));
    group.bench_function("parse", |b| b.iter(read));
    group.bench_function("plan", |b| b.iter(planned));
    let Ok(Planned::Ready(steps)) = planned() else { unreachable!("it was planned above") };
    let steps = || steps.stages.iter().flat_map(|stage| &stage.steps);
    let (files, given, platform) = (Digest::sha256("files"), Given::default(), Platform::host());
    let parent = ChainId::of(&[DiffId(Digest::sha256("layer"))]);
    let key = |op: &Op| match op {
        Op::Exec(exec) => Some(exec_key(parent.as_ref(), exec, &given, &platform).digest()),
        Op::Copy(copy) => Some(copy_key(parent.as_ref(), copy, &files, &platform).digest()),
        _ => None,
    };
    let keys = || steps().filter_map(|step| key(&step.op)).count();
    group.bench_function(format!("{} keys", keys()), |b| b.iter(keys));
    group.finish();
}

criterion_group!(benches, thousand_instructions);
criterion_main!(benches);
