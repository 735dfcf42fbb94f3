//! Layers compressed in chunks are ordinary streams: what others inflate is the tar, and tars read them as they are.

use crate::random::Random;
use crate::readers::read_by;
use crate::trees::pack;
use cooper_layerfs::LayerfsError;
use cooper_layerfs::compress::{Method, NoChunks, compress};
use std::fs;
use std::io::Write;
use std::process::Command;

/// A layer of several chunks.
fn layer() -> Vec<u8> {
    let (tree, mut random) = (tempfile::tempdir().unwrap(), Random::new(7));
    for n in 0..40 {
        let words: Vec<String> = (0..100_000).map(|_| random.below(100_000).to_string()).collect();
        fs::write(tree.path().join(format!("words{n}")), words.join(" ")).unwrap();
    }
    pack(tree.path())
}

#[test]
fn what_is_compressed_in_chunks_is_inflated_by_all() {
    let tar = layer();
    let list = read_by(Command::new("tar").args(["-t", "-v", "-f", "-"]), tar.clone());
    let python = "import gzip, shutil, sys; shutil.copyfileobj(gzip.open(sys.stdin.buffer), sys.stdout.buffer)";
    let gzip: &[&[&str]] = &[&["gunzip", "-c"], &["python3", "-c", python]];
    let zstd: &[&[&str]] = &[&["zstd", "-d", "-c"]];
    for (method, inflating, listing) in [(Method::Gzip(6), gzip, "-tvzf"), (Method::Zstd(3), zstd, "-tvf")] {
        let mut packed = Vec::new();
        let failed = |source| LayerfsError::Io { what: "writing".into(), source };
        let produce = |to: &mut dyn Write| to.write_all(&tar).map_err(failed);
        let (_, placed): (_, _) = compress(method, &NoChunks, &mut packed, produce).unwrap();
        assert!(placed.len() > 2, "{} chunks", placed.len());
        for program in inflating {
            let said = read_by(Command::new(program[0]).args(&program[1..]), packed.clone());
            assert!(said == tar, "{program:?} inflates something else");
        }
        let mut gnu = Command::new("tar");
        let flags: &[&str] = if listing == "-tvf" { &["-I", "zstd", listing, "-"] } else { &[listing, "-"] };
        assert!(read_by(gnu.args(flags), packed.clone()) == list, "GNU tar lists something else");
        let bsd = |bytes: Vec<u8>| read_by(Command::new("bsdtar").args(["-x", "-O", "-f", "-"]), bytes);
        assert!(bsd(packed) == bsd(tar.clone()), "bsdtar unpacks something else");
    }
}
