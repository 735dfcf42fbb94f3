//! A plan as text, for people and for golden files.
//!
//! Takes a plan; gives lines. The same plan gives the same text everywhere; every field is in it, so that two plans
//! with one text are one plan.

use crate::mount::{Cache, Mount, Mounted, Source};
use crate::op::{Base, Copy, Exec, Fetch, Network, Op, Plan, Reuse, Security, Stage, Step};
use cooper_image::edit::ConfigEdit;

/// The text.
pub fn dump(plan: &Plan) -> String {
    let mut out = format!("target {}\n", plan.target.0);
    for (i, s) in plan.stages.iter().enumerate() {
        stage(&mut out, i, s);
    }
    out
}

fn stage(out: &mut String, number: usize, stage: &Stage) {
    line(
        out,
        0,
        format!("stage {number} {:?} {} lines {}-{}", stage.label, stage.platform, stage.span.start, stage.span.end),
    );
    line(out, 1, format!("text {:?}", stage.text));
    line(out, 1, format!("base {}", base(&stage.base)));
    if stage.reuse == Reuse::Never {
        line(out, 1, "reuse never".to_owned());
    }
    for s in &stage.steps {
        step(out, s);
    }
}

fn step(out: &mut String, step: &Step) {
    line(out, 1, format!("step lines {}-{} {:?}", step.span.start, step.span.end, step.text));
    if !step.history.is_empty() {
        line(out, 2, format!("history {:?}", step.history));
    }
    match &step.op {
        Op::Exec(e) => exec(out, e),
        Op::Copy(c) => copy(out, c),
        Op::Fetch(f) => fetch(out, f),
        Op::Workdir(w) => line(out, 2, format!("workdir {:?} user {:?}", w.path.to_string(), w.user)),
        Op::Edit(edits) => edits.iter().for_each(|e| line(out, 2, edit(e))),
    }
}

fn exec(out: &mut String, exec: &Exec) {
    line(out, 2, format!("exec {:?}", exec.argv));
    line(out, 3, format!("cwd {:?} user {:?}", exec.cwd.to_string(), exec.user));
    exec.env.iter().for_each(|(n, v)| line(out, 3, format!("env {n}={v:?}")));
    exec.unkeyed_env.iter().for_each(|(n, v)| line(out, 3, format!("unkeyed {n}={v:?}")));
    exec.script.iter().for_each(|(n, b)| line(out, 3, format!("script {n:?} {b:?}")));
    exec.hostname.iter().for_each(|h| line(out, 3, format!("hostname {h:?}")));
    match exec.network {
        Network::Default => {}
        Network::None => line(out, 3, "network none".to_owned()),
        Network::Host => line(out, 3, "network host".to_owned()),
        Network::Isolated => line(out, 3, "network isolated".to_owned()),
    }
    if exec.security == Security::Insecure {
        line(out, 3, "security insecure".to_owned());
    }
    exec.mounts.iter().for_each(|m| line(out, 3, mount(m)));
}

fn mount(mount: &Mount) -> String {
    let target = mount.target.as_ref().map(ToString::to_string);
    let from =
        |s: &Source| format!("{} {:?}", s.from.as_ref().map_or_else(|| "context".to_owned(), base), s.path.to_string());
    let what = match &mount.what {
        Mounted::Bind(source) => format!("bind from {}", from(source)),
        Mounted::Cache(Cache { id, sharing, seed, ownership }) => {
            let seed = seed.as_ref().map_or_else(|| "nothing".to_owned(), from);
            format!("cache {id:?} {sharing:?} from {seed} {ownership:?}")
        }
        Mounted::Tmpfs { bytes } => format!("tmpfs {bytes:?}"),
        Mounted::Secret(secret) => format!("{secret:?}"),
        Mounted::Ssh { id, required, ownership } => format!("ssh {id:?} required {required} {ownership:?}"),
    };
    format!("mount {target:?} {:?} {what}", mount.access)
}

fn copy(out: &mut String, copy: &Copy) {
    line(out, 2, format!("copy {:?}", copy.sources));
    line(out, 3, format!("from {}", copy.from.as_ref().map_or_else(|| "context".to_owned(), base)));
    if copy.parents {
        line(out, 3, "parents".to_owned());
    }
    copy.exclude.iter().for_each(|v| line(out, 3, format!("exclude {v:?}")));
    copy.inline.iter().for_each(|(n, b)| line(out, 3, format!("inline {n:?} {b:?}")));
    line(out, 3, format!("dest {:?}{}", copy.dest.to_string(), if copy.dest_is_dir { " directory" } else { "" }));
    copy.chown.iter().for_each(|v| line(out, 3, format!("chown {v:?}")));
    copy.chmod.iter().for_each(|v| line(out, 3, format!("chmod {v:?}")));
    if copy.unpack {
        line(out, 3, "unpack".to_owned());
    }
    if copy.link {
        line(out, 3, "link".to_owned());
    }
}

fn fetch(out: &mut String, fetch: &Fetch) {
    line(out, 2, format!("fetch{}", if fetch.unpack { " unpack" } else { "" }));
    fetch.sources.iter().for_each(|s| line(out, 3, format!("{s:?}")));
    copy(out, &fetch.copy);
}

fn edit(edit: &ConfigEdit) -> String {
    format!("edit {}", serde_json::to_string(edit).unwrap_or_default())
}

fn base(base: &Base) -> String {
    match base {
        Base::Scratch => "scratch".to_owned(),
        Base::Image(reference) => format!("image {reference}"),
        Base::Stage(id) => format!("stage {}", id.0),
        Base::Layout(name) => format!("layout {name}"),
        Base::Files(name) => format!("files {name}"),
    }
}

fn line(out: &mut String, depth: usize, text: String) {
    (0..depth).for_each(|_| out.push_str("  "));
    out.push_str(&text);
    out.push('\n');
}
