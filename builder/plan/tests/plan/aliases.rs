//! Short names that the plan's request says something else of than Docker Hub's images.

use crate::planning::*;
use cooper_dockerfile::lint::Experimental;
use cooper_image::{Aliases, Digest, Platform};
use cooper_plan::build::{BaseImage, BaseKey, Bases};
use cooper_plan::context::ContextKind;
use cooper_plan::lint::{Stages, Subject, check};
use cooper_plan::op::{Base, Op};
use cooper_plan::request::PlanRequest;
use std::collections::BTreeMap;

/// `app` and `team/tools`, and one that nobody can mean.
fn aliases() -> Aliases {
    let table = [("app", "r.example/x/app"), ("team/tools", "r.example:5000/t"), ("scratch", "r.example/no")];
    let table: BTreeMap<String, String> = table.map(|(n, t)| (n.to_owned(), t.to_owned())).into();
    table.try_into().expect("a table")
}

fn aliased() -> PlanRequest {
    PlanRequest { aliases: aliases(), ..request() }
}

#[test]
fn bases_are_what_aliases_say() {
    let digest = Digest::sha256("x");
    for (text, asked) in [
        ("FROM app", vec!["r.example/x/app:latest".to_owned()]),
        ("FROM app:1", vec!["r.example/x/app:1".to_owned()]),
        (&format!("FROM app@{digest}"), vec![format!("r.example/x/app@{digest}")]),
        ("ARG A=app\nARG T=2\nFROM $A:$T", vec!["r.example/x/app:2".to_owned()]),
        ("FROM library/app:1", vec!["app:1".to_owned()]),
        ("FROM docker.io/library/app:1", vec!["app:1".to_owned()]),
        ("FROM app2:1", vec!["app2:1".to_owned()]),
        // A stage of that name comes first, and scratch is no image.
        ("FROM scratch AS app\nCOPY a /\nFROM app", vec![]),
    ] {
        let (_, rounds) = rounds(text, &aliased(), &|_| with_path()).unwrap();
        assert_eq!(rounds.concat(), asked, "{text}");
    }
}

#[test]
fn a_context_of_that_name_comes_first() {
    let contexts = [("app:1".parse().unwrap(), ContextKind::Image("busybox".parse().unwrap()))].into_iter().collect();
    let (_, rounds) = rounds("FROM app:1", &PlanRequest { contexts, ..aliased() }, &|_| with_path()).unwrap();
    assert_eq!(rounds.concat(), ["busybox:latest"]);
}

#[test]
fn images_that_are_copied_from_are_what_aliases_say() {
    let text = "FROM scratch\nCOPY --from=team/tools:3 /a /b\nRUN --mount=from=app,target=/m [\"x\"]\n";
    let plan = planned(text, &aliased()).unwrap();
    let image = |name: &str| Base::Image(name.parse().unwrap());
    assert_eq!(copies(&plan)[0].from, Some(image("r.example:5000/t:3")));
    let Some(Op::Exec(run)) = target(&plan).steps.last().map(|step| &step.op) else { panic!("a RUN is last") };
    assert!(format!("{:?}", run.mounts).contains("r.example"), "{:?}", run.mounts);
}

#[test]
fn checks_know_the_base_by_its_whole_name() {
    let image = BaseImage::Named("r.example/x/app:latest".parse().unwrap());
    let key = BaseKey { image, platform: Platform::linux("amd64") };
    let config = cooper_image::ImageConfig::scratch(&Platform::linux("arm64"));
    let (request, bases) = (aliased(), Bases::from([(key, config)]));
    let (ignore, experimental, stages) = (None, Experimental::Named, Stages::All);
    let subject = Subject { text: "FROM app\n", request: &request, ignore, bases: &bases, experimental, stages };
    let found = check(&subject).unwrap().findings;
    assert_eq!(found.iter().map(|f| f.rule.id).collect::<Vec<_>>(), ["InvalidBaseImagePlatform"]);
}
