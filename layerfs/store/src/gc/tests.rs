//! What goes and what stays, in one process.

use super::*;
use crate::testing::store;
use crate::{Referrer, Repo};
use cooper_image::assemble::{Format, assemble};
use cooper_image::{Descriptor, DiffId, Digest, ImageConfig, MediaType, Platform, Reference};
use std::path::Path;

/// Later than anything that a test makes.
const LATER: i64 = 4_000_000_000;

fn everything() -> Policy {
    Policy { keep: None, max_bytes: None, kinds: Vec::new(), names: Vec::new(), doing: Doing::Delete }
}

fn publish_tree(store: &Store, diff: &DiffId, bytes: usize) {
    let ingest = store.ingest().unwrap();
    let tree = ingest.path().join("tree");
    std::fs::create_dir(&tree).unwrap();
    std::fs::write(tree.join("f"), vec![1; bytes]).unwrap();
    store.publish_tree(&tree, diff).unwrap();
}

/// An image of one layer, whose blob and tree are there; gives its manifest and its configuration.
fn image(store: &Store, text: &str) -> (DiffId, Descriptor, Descriptor) {
    let diff = DiffId(Digest::sha256(format!("tar of {text}")));
    let mut config = ImageConfig::scratch(&Platform::linux("amd64"));
    config.rootfs.diff_ids = vec![diff.clone()];
    let layer = Descriptor::of(MediaType::OciLayerGzip, text.as_bytes());
    store.put_blob(text.as_bytes()).unwrap();
    store.add_layer_blob(&diff, &layer).unwrap();
    publish_tree(store, &diff, 10);
    let image = assemble(&config, vec![layer], Format::Oci, Default::default()).unwrap();
    store.put_blob(&image.config).unwrap();
    store.put_blob(&image.manifest).unwrap();
    (diff, image.descriptor, image.config_descriptor)
}

/// Pushes such an image, without a tag; gives its layer and its manifest.
fn push(store: &Store, repo: &Repo, text: &str) -> (Digest, Descriptor) {
    let (_, manifest, config) = image(store, text);
    let layer = Digest::sha256(text);
    repo.link_blob(&layer).unwrap();
    repo.link_blob(&config.digest).unwrap();
    put(store, repo, &manifest, None);
    (layer, manifest)
}

/// Links a manifest that the store has.
fn put(store: &Store, repo: &Repo, manifest: &Descriptor, subject: Option<&Descriptor>) {
    let bytes = store.read_blob(manifest, 1 << 20).unwrap().into_inner();
    let referrer = subject.map(|s| Referrer { subject: s.digest.clone(), descriptor: manifest.clone() });
    repo.put_manifest(&bytes, manifest, referrer.as_ref()).unwrap();
}

fn name(text: &str) -> Reference {
    text.parse().unwrap()
}

#[test]
fn only_what_names_lead_to_stays() {
    let (_dir, store) = store();
    let (kept, manifest, _) = image(&store, "kept");
    let (gone, ..) = image(&store, "gone");
    store.set_ref(&name("app"), &manifest).unwrap();
    let repo = store.repository(&"team/app".parse().unwrap());
    let (pushed, manifest) = push(&store, &repo, "pushed");
    repo.set_tag(&"v1".parse().unwrap(), &manifest).unwrap();
    let outcome = store.collect(&everything(), LATER).unwrap();
    assert!(outcome.after < outcome.before);
    assert_eq!(outcome.after, store.inventory(LATER).unwrap().iter().map(|i| i.bytes).sum::<u64>());
    let forms = store.layer(&kept).unwrap();
    assert_eq!((forms.tree, forms.blobs.len()), (None, 1), "the tree can be made again");
    assert_eq!(store.layer(&gone).unwrap(), Default::default());
    assert!(!store.layout().layer(&gone).exists(), "what was known of its blobs went with them");
    assert_eq!(repo.blob(&pushed).unwrap(), Some(6));
    assert!(store.fsck().unwrap().problems.is_empty());
}

#[test]
fn a_manifest_that_was_asked_for_is_young_again() {
    use std::os::unix::fs::MetadataExt as _;
    let (_dir, store) = store();
    let repo = store.repository(&"team/app".parse().unwrap());
    let (_, manifest) = push(&store, &repo, "untagged");
    let link = store.layout().repository_manifest(repo.name(), &manifest.digest);
    let age_from = || {
        let is = std::fs::symlink_metadata(&link).unwrap();
        (is.ctime(), is.ctime_nsec())
    };
    let (made, now) = (age_from(), std::time::SystemTime::now());
    // Longer than the clock of files takes for a step.
    std::thread::sleep(Duration::from_millis(50));
    repo.note_asked_at(&manifest.digest, now);
    assert_eq!(age_from(), made, "not with every request");
    repo.note_asked_at(&manifest.digest, now + Duration::from_secs(120));
    assert!(age_from() > made);
    assert!(repo.manifest(&manifest.digest).unwrap().is_some());
    // Of what is not there nothing is noted, and nothing made.
    repo.note_asked(&Digest::sha256("absent"));
    assert_eq!(repo.manifests().unwrap(), [manifest.digest]);
}

#[test]
fn what_is_asked_for_while_somebody_looks_stays_with_its_blobs() {
    let (_dir, store) = store();
    let repo = store.repository(&"team/app".parse().unwrap());
    let (blob, manifest) = push(&store, &repo, "untagged");
    let (old, young) = (Unnamed::all(LATER), Unnamed::all(0));
    let found = links::loose(&mut Reach::default(), &store, &repo, old).unwrap();
    assert!(found.manifests.contains(&manifest.digest) && found.blobs.contains(&blob));
    links::unlink(&store, &repo, young, &found).unwrap();
    assert!(repo.manifest(&manifest.digest).unwrap().is_some() && repo.blob(&blob).unwrap().is_some());
    links::unlink(&store, &repo, old, &found).unwrap();
    assert!(repo.manifest(&manifest.digest).unwrap().is_none() && repo.blob(&blob).unwrap().is_none());
}

#[test]
fn a_repository_keeps_what_its_manifests_name_and_with_all_those_that_tags_lead_to() {
    let (_dir, store) = store();
    let repo = store.repository(&"team/app".parse().unwrap());
    let tag = |tag: &str, to: &Descriptor| repo.set_tag(&tag.parse().unwrap(), to).unwrap();
    let tagged = push(&store, &repo, "tagged");
    tag("v1", &tagged.1);
    let (moved, child, signature) =
        (push(&store, &repo, "moved"), push(&store, &repo, "child"), push(&store, &repo, "signature"));
    put(&store, &repo, &signature.1, Some(&child.1));
    let index = serde_json::json!({"schemaVersion": 2, "mediaType": MediaType::OciIndex, "manifests": [&child.1]});
    let index = index.to_string().into_bytes();
    let multi = Descriptor::of(MediaType::OciIndex, &index);
    repo.put_manifest(&index, &multi, None).unwrap();
    tag("multi", &multi);
    let loose = store.put_blob(b"loose").unwrap();
    repo.link_blob(&loose).unwrap();
    let there = |d: &Digest| (repo.blob(d).unwrap().is_some(), store.blob_size(d).unwrap().is_some());
    let gone = |d: &Digest| there(d) == (false, false);
    let stays = |d: &Digest| there(d) == (true, true);
    let collect = |policy: &Policy, now| store.collect(policy, now).unwrap();

    // Whatever is chosen otherwise, or only asked for, or young, is not let go.
    let young = store.inventory(LATER).unwrap().iter().map(|i| i.last_used).filter(|at| *at < LATER).max().unwrap();
    let hour = 60 * 60;
    collect(&everything(), young + 23 * hour);
    collect(&Policy { kinds: vec![Kind::Blob], ..everything() }, LATER);
    collect(&Policy { max_bytes: Some(1), ..everything() }, LATER);
    let said = collect(&Policy { doing: Doing::Say, ..everything() }, LATER);
    assert_eq!((fate(&said, &loose.to_string()), fate(&said, &moved.0.to_string())), (Fate::Goes, Fate::Goes));
    for layer in [&tagged.0, &child.0, &signature.0] {
        assert!(matches!(fate(&said, &layer.to_string()), Fate::Kept(Keeps::Repository(_))));
    }
    assert!(stays(&loose) && stays(&moved.0));

    let two_days = Policy { keep: Some(Duration::from_secs(48 * 60 * 60)), ..everything() };
    collect(&two_days, young + 47 * hour);
    assert!(stays(&loose));
    collect(&two_days, LATER);
    assert!(gone(&loose) && stays(&moved.0), "no manifest names the one");
    collect(&everything(), LATER);
    assert!(gone(&moved.0) && repo.manifest(&moved.1.digest).unwrap().is_none());
    for (layer, manifest) in [&tagged, &child, &signature] {
        assert!(stays(layer) && repo.manifest(&manifest.digest).unwrap().is_some());
    }
    assert!(store.fsck().unwrap().problems.is_empty());

    // Nothing is judged where a manifest cannot be read.
    let (layer, manifest) = push(&store, &repo, "damaged");
    repo.link_blob(&store.put_blob(b"loose").unwrap()).unwrap();
    let file = store.layout().blob(&manifest.digest);
    std::fs::remove_file(&file).unwrap();
    std::fs::write(&file, "no manifest").unwrap();
    collect(&two_days, LATER);
    assert!(stays(&layer) && stays(&loose));
    // With its link it goes.
    repo.remove_manifest(&manifest.digest).unwrap();
    collect(&two_days, LATER);
    assert!(gone(&layer) && gone(&loose) && stays(&tagged.0));
}

#[test]
fn one_form_of_a_layer_stays_and_it_is_the_one_that_cannot_be_made_again() {
    let (_dir, store) = store();
    let (diff, _, config) = image(&store, "base");
    store.set_ref(&name("lazy"), &config).unwrap();
    store.collect(&everything(), LATER).unwrap();
    let forms = store.layer(&diff).unwrap();
    assert_eq!((forms.tree, forms.blobs.len()), (None, 1));

    let tree = DiffId(Digest::sha256("tree"));
    publish_tree(&store, &tree, 10);
    let mut config = ImageConfig::scratch(&Platform::linux("amd64"));
    let tar = DiffId(store.put_blob(b"tar").unwrap());
    publish_tree(&store, &tar, 10);
    config.rootfs.diff_ids = vec![tree.clone(), tar.clone()];
    let bytes = cooper_image::assemble::config_bytes(&config).unwrap();
    store.put_blob(&bytes).unwrap();
    store.set_ref(&name("two"), &Descriptor::of(MediaType::OciConfig, &bytes)).unwrap();
    store.collect(&everything(), LATER).unwrap();
    assert!(store.layer(&tree).unwrap().tree.is_some());
    let forms = store.layer(&tar).unwrap();
    assert_eq!((forms.tree, forms.tar), (None, Some(3)));
}

#[test]
fn what_is_in_use_and_what_is_young_stays() {
    let (_dir, store) = store();
    let holding = store.holding();
    let (used, unused) = (store.put_blob(b"used").unwrap(), store.put_blob(b"unused").unwrap());
    holding.blob_size(&used).unwrap();
    let now = store.inventory(LATER).unwrap().iter().find(|i| i.kind == Kind::Blob).unwrap().last_used;
    let young = Policy { keep: Some(Duration::from_secs(60)), ..everything() };
    store.collect(&young, now + 50).unwrap();
    assert!(store.blob_size(&unused).unwrap().is_some());
    let said = store.collect(&Policy { doing: Doing::Say, ..young.clone() }, now + 100).unwrap();
    let fate = |d: &Digest| said.verdicts.iter().find(|v| v.item.name == d.to_string()).unwrap().fate.clone();
    assert_eq!((fate(&used), fate(&unused)), (Fate::Kept(Keeps::Process), Fate::Goes));
    assert!(store.blob_size(&unused).unwrap().is_some(), "it was only said");
    store.collect(&young, now + 100).unwrap();
    assert_eq!((store.blob_size(&used).unwrap(), store.blob_size(&unused).unwrap()), (Some(4), None));
    drop(holding);
    store.collect(&young, now + 100).unwrap();
    assert_eq!(store.blob_size(&used).unwrap(), None);
}

#[test]
fn what_came_of_a_blob_lately_stays_for_the_next_pull() {
    use std::io::Write as _;
    let (_dir, store) = store();
    let digest = Digest::sha256("right");
    let arriving = || store.arriving_blob(&digest, 5).unwrap();
    let come = |bytes: &[u8]| arriving().write_all(bytes).unwrap();
    come(b"ri");
    let now = store.inventory(LATER).unwrap().iter().find(|i| i.kind == Kind::Inflight).unwrap().last_used;
    let young = Policy { keep: Some(Duration::from_secs(60)), ..everything() };
    store.collect(&young, now + 50).unwrap();
    assert_eq!(arriving().written(), 2);
    let writer = arriving();
    store.collect(&everything(), LATER).unwrap();
    drop(writer);
    assert_eq!(arriving().written(), 2, "it was in use");
    store.collect(&young, now + 100).unwrap();
    assert_eq!(arriving().written(), 0);
}

#[test]
fn what_came_of_an_upload_lately_stays_for_the_next_process() {
    let (_dir, store) = store();
    drop(store.receive_blob("one").unwrap());
    let now = store.inventory(LATER).unwrap().iter().find(|i| i.kind == Kind::Inflight).unwrap().last_used;
    let young = Policy { keep: Some(Duration::from_secs(60)), ..everything() };
    store.collect(&young, now + 50).unwrap();
    let writer = store.receive_blob("one").unwrap();
    store.collect(&everything(), LATER).unwrap();
    drop(writer);
    assert!(store.has_received("one").unwrap(), "it was in use");
    store.collect(&young, now + 100).unwrap();
    assert!(!store.has_received("one").unwrap());
}

/// A name that is written after the names were read, by a process that has ended since.
#[test]
fn a_name_that_is_written_meanwhile_counts() {
    let (_dir, store) = store();
    let (diff, manifest, config) = image(&store, "late");
    for (reference, descriptor) in [("late", &manifest), ("lazy", &config)] {
        store.remove_ref(&name("late")).unwrap();
        let mut reach = Reach::default();
        let reached = reach.search(&store).unwrap();
        let inventory = inventory::take(&store, &reached, LATER).unwrap();
        store.set_ref(&name(reference), descriptor).unwrap();
        Sweep::new(&store, &everything(), reach, inventory).run(LATER).unwrap();
        assert_eq!(store.layer(&diff).unwrap().blobs.len(), 1, "{reference}");
        assert!(store.fsck().unwrap().problems.is_empty(), "{reference}");
        publish_tree(&store, &diff, 10);
    }
}

/// Between the look at a file and its lock, another one gets its name.
#[test]
fn a_file_that_was_replaced_meanwhile_is_not_taken_for_the_old_one() {
    let (_dir, store) = store();
    let digest = store.put_blob(b"bytes").unwrap();
    let mut reach = Reach::default();
    let reached = reach.search(&store).unwrap();
    let inventory = inventory::take(&store, &reached, LATER).unwrap();
    std::fs::remove_file(store.layout().blob(&digest)).unwrap();
    let holding = store.holding();
    holding.put_blob(b"bytes").unwrap();
    let verdicts = Sweep::new(&store, &everything(), reach, inventory).run(LATER).unwrap();
    let fate = verdicts.into_iter().find(|v| v.item.name == digest.to_string()).unwrap().fate;
    assert_eq!(fate, Fate::Kept(Keeps::Process));
    assert!(holding.open_blob(&digest).is_ok());
}

#[test]
fn a_cap_holds_and_what_was_used_last_is_spared() {
    let (_dir, store) = store();
    let sleep = || std::thread::sleep(Duration::from_millis(1100));
    let old = store.put_blob(&vec![1; 100_000]).unwrap();
    let middle = store.put_blob(&vec![2; 100_000]).unwrap();
    sleep();
    let new = store.put_blob(&vec![3; 100_000]).unwrap();
    let touch = |d: &Digest| {
        let file = File::open(store.layout().blob(d)).unwrap();
        file.set_times(std::fs::FileTimes::new().set_accessed(std::time::SystemTime::now())).unwrap();
    };
    touch(&old);
    let all = store.inventory(LATER).unwrap().iter().map(|i| i.bytes).sum::<u64>();
    let max_bytes = Some(all - 50_000);
    let outcome = store.collect(&Policy { max_bytes, ..everything() }, LATER).unwrap();
    assert!(outcome.after <= all - 50_000, "{} of {all}", outcome.after);
    let there = [&old, &middle, &new].map(|d| store.blob_size(d).unwrap().is_some());
    assert_eq!(there, [true, false, true]);
    // A cap that cannot hold: what is in the way is told.
    store.set_ref(&name("big"), &Descriptor::of(MediaType::OciConfig, &vec![3; 100_000])).unwrap();
    let outcome = store.collect(&Policy { max_bytes: Some(1000), ..everything() }, LATER).unwrap();
    assert!(outcome.after > 100_000);
    let kept = outcome.verdicts.iter().find(|v| v.item.name == new.to_string()).unwrap();
    assert_eq!(kept.fate, Fate::Kept(Keeps::Name("big:latest".to_owned())));
    assert_eq!(store.blob_size(&old).unwrap(), None);
}

#[test]
fn kinds_and_names_are_chosen() {
    let (_dir, store) = store();
    let blob = store.put_blob(b"blob").unwrap();
    let diff = DiffId(Digest::sha256("tree"));
    publish_tree(&store, &diff, 10);
    store.collect(&Policy { kinds: vec![Kind::Blob], names: vec!["zz".to_owned()], ..everything() }, LATER).unwrap();
    assert!(store.blob_size(&blob).unwrap().is_some());
    let names = vec![blob.hex()[..6].to_owned()];
    store.collect(&Policy { kinds: vec![Kind::Blob], names, ..everything() }, LATER).unwrap();
    assert!(store.blob_size(&blob).unwrap().is_none());
    assert!(store.layer(&diff).unwrap().tree.is_some());
}

fn fate(outcome: &Outcome, name: &str) -> Fate {
    outcome.verdicts.iter().find(|v| v.item.name.starts_with(name)).unwrap().fate.clone()
}

#[test]
fn what_cannot_be_deleted_is_told_and_the_rest_goes() {
    let (_dir, store) = store();
    let blob = store.put_blob(b"blob").unwrap();
    let diff = DiffId(Digest::sha256("tree"));
    publish_tree(&store, &diff, 10);
    // A directory with something in it cannot be unlinked, and what has a mark must not go without it.
    let mark = store.layout().synced_tree(&diff);
    std::fs::create_dir_all(mark.join("in the way")).unwrap();
    let outcome = store.collect(&everything(), LATER).unwrap();
    assert!(matches!(fate(&outcome, &diff.0.to_string()), Fate::Refused(_)));
    assert_eq!(fate(&outcome, &blob.to_string()), Fate::Goes);
    assert!(store.layout().tree(&diff).is_dir());
    std::fs::remove_dir_all(&mark).unwrap();
    std::fs::write(&mark, "").unwrap();
    store.collect(&everything(), LATER).unwrap();
    assert!(!store.layout().tree(&diff).exists() && !mark.exists());
}

#[test]
fn a_cache_in_use_stays_and_so_does_the_place_of_one_that_is_being_made() {
    let (_dir, store) = store();
    let cache = Digest::sha256("cache");
    let mut fill =
        |path: &Path| -> Result<(), StoreError> { std::fs::create_dir(path).map_err(StoreError::io("creating", path)) };
    let used = store.cache_mount(&cache, crate::CacheUse::Shared, &mut fill).unwrap().unwrap();
    let path = used.path().to_owned();
    let outcome = store.collect(&everything(), LATER).unwrap();
    assert_eq!(fate(&outcome, &cache.to_string()), Fate::Kept(Keeps::Process));
    assert!(path.exists());
    drop(used);
    // As whoever looks for a free copy, or makes one.
    let gate = File::open(path.parent().unwrap()).unwrap();
    gate.lock().unwrap();
    let outcome = store.collect(&everything(), LATER).unwrap();
    assert_eq!(fate(&outcome, &cache.to_string()), Fate::Goes);
    assert!(!path.exists() && path.parent().unwrap().exists());
    drop(gate);
    drop(store.cache_mount(&cache, crate::CacheUse::Locked, &mut fill).unwrap().unwrap());
    store.collect(&everything(), LATER).unwrap();
    assert!(!path.parent().unwrap().exists());
    let again = store.cache_mount(&cache, crate::CacheUse::Locked, &mut fill).unwrap().unwrap();
    assert_eq!(again.path(), path);
}

#[test]
fn collecting_by_itself_reads_one_file_until_the_cap_is_reached() {
    let (_dir, store) = store();
    std::fs::create_dir(store.layout().top("stat")).unwrap();
    let holding = store.holding();
    let nothing = |found: Automatic| matches!(found, Automatic::Nothing);
    assert!(nothing(holding.collect_when_full(1 << 20, 100).unwrap()));
    let measured = std::fs::read_to_string(store.layout().usage()).unwrap();
    holding.put_blob(&vec![1; 300_000]).unwrap();
    assert!(nothing(holding.collect_when_full(1 << 20, 200).unwrap()));
    let added = std::fs::read_to_string(store.layout().usage()).unwrap();
    assert!(added.starts_with(&measured) && added.lines().count() == 2, "{added}");
    // What nobody told of is not seen, since the store is not walked, until its measurement is a day old.
    std::fs::write(store.layout().top("stat/foreign"), vec![3; 2 << 20]).unwrap();
    assert!(nothing(holding.collect_when_full(1 << 20, 300).unwrap()));
    assert_eq!(std::fs::read_to_string(store.layout().usage()).unwrap(), added, "nothing was made");
    let tomorrow = 100 + 24 * 60 * 60;
    assert!(nothing(holding.collect_when_full(1 << 20, tomorrow - 1).unwrap()));
    assert!(!nothing(holding.collect_when_full(1 << 20, tomorrow).unwrap()));
    // And by itself when the sum of what was told passes the cap.
    holding.put_blob(&vec![2; 900_000]).unwrap();
    holding.put_blob(&vec![3; 300_000]).unwrap();
    let other = store.holding();
    let used = store.put_blob(&vec![4; 100_000]).unwrap();
    other.blob_size(&used).unwrap();
    // What the build that has ended held is no longer in the way; what another holds is.
    let Automatic::Collected(outcome) = holding.collect_when_full(1 << 20, tomorrow + 1).unwrap() else { panic!() };
    assert_eq!(other.blob_size(&used).unwrap(), Some(100_000));
    assert!(outcome.after <= (1 << 20) * 9 / 10, "{}", outcome.after);
    for damaged in ["", "usage/2 1 1\n", "usage/1 x 1\n", "usage/1 1 1\n+x\n", "\0"] {
        std::fs::write(store.layout().usage(), damaged).unwrap();
        assert!(nothing(store.collect_when_full(1 << 30, 400).unwrap()), "{damaged:?}");
        assert!(std::fs::read_to_string(store.layout().usage()).unwrap().ends_with(" 400\n"), "{damaged:?}");
    }
}
