//! How much larger a layer becomes because it is compressed in chunks: the same tar, library and level, once in
//! chunks and once as one gzip member or one zstd frame. Arguments are tars; each is held in memory.
#![allow(clippy::print_stdout, clippy::unwrap_used, missing_docs)]

use cooper_layerfs::LayerfsError;
use cooper_layerfs::compress::{Method, NoChunks, compress};
use libdeflater::{CompressionLvl, Compressor};
use std::io::Write;

fn chunked(tar: &[u8], method: Method) -> usize {
    let mut out = Vec::new();
    let written = |source| LayerfsError::Io { what: "writing".into(), source };
    let produce = |to: &mut dyn Write| to.write_all(tar).map_err(written);
    let made: Result<_, LayerfsError> = compress(method, &NoChunks, &mut out, produce);
    made.unwrap();
    out.len()
}

fn whole(tar: &[u8], method: Method) -> usize {
    match method {
        Method::Plain => tar.len(),
        Method::Gzip(level) => {
            let mut press = Compressor::new(CompressionLvl::new(level.try_into().unwrap()).unwrap());
            let mut out = vec![0; press.gzip_compress_bound(tar.len())];
            press.gzip_compress(tar, &mut out).unwrap()
        }
        Method::Zstd(level) => zstd::bulk::compress(tar, level).unwrap().len(),
    }
}

fn main() {
    println!("| layer | method | whole | in chunks | more |\n|---|---|---|---|---|");
    for name in std::env::args().skip(1).filter(|a| !a.starts_with('-')) {
        let tar = std::fs::read(&name).unwrap();
        for (shown, method) in [
            ("gzip 4", Method::Gzip(4)),
            ("gzip 6", Method::Gzip(6)),
            ("zstd 3", Method::Zstd(3)),
            ("zstd 6", Method::Zstd(6)),
            ("zstd 9", Method::Zstd(9)),
            ("zstd 12", Method::Zstd(12)),
            ("zstd 19", Method::Zstd(19)),
        ] {
            let (whole, chunked) = (whole(&tar, method), chunked(&tar, method));
            let more = (chunked as f64 / whole as f64 - 1.0) * 100.0;
            let layer = name.rsplit('/').next().unwrap_or(&name);
            println!("| `{layer}` | {shown} | {whole} | {chunked} | {more:.2} % |");
        }
    }
}
