//! Tar bytes written field by field, also such that no honest tool writes. Shares no code with the crate.

/// One header under construction; everything that is not set is zero.
#[derive(Clone)]
pub struct Forged {
    block: [u8; 512],
    body: Vec<u8>,
}

impl Forged {
    /// A ustar entry with mode 0644, owned by whoever runs the test, so that ordinary users can unpack it.
    pub fn new(kind: u8, name: &[u8]) -> Self {
        let mut forged = Self { block: [0; 512], body: Vec::new() };
        forged.put(0, name);
        forged.put(156, &[kind]);
        forged.put(257, b"ustar\x0000");
        let (uid, gid) = owner();
        forged.octal(136, 12, 1_700_000_000).octal(124, 12, 0).mode(0o644).owned(uid, gid)
    }
    /// A regular file.
    pub fn file(name: &str, body: &[u8]) -> Self {
        Self::new(b'0', name.as_bytes()).body(body)
    }
    /// A directory, mode 0755.
    pub fn dir(name: &str) -> Self {
        Self::new(b'5', name.as_bytes()).mode(0o755)
    }
    /// A symbolic link.
    pub fn symlink(name: &str, target: &str) -> Self {
        Self::new(b'2', name.as_bytes()).raw(157, target.as_bytes())
    }
    /// A hard link.
    pub fn hardlink(name: &str, target: &str) -> Self {
        Self::new(b'1', name.as_bytes()).raw(157, target.as_bytes())
    }
    /// An `x` header with these records.
    pub fn pax(records: &[(&str, &[u8])]) -> Self {
        let body = records.iter().flat_map(|(keyword, value)| record(keyword, value)).collect::<Vec<_>>();
        Self::new(b'x', b"pax").body(&body)
    }
    /// A GNU long name (`L`) or long link (`K`).
    pub fn gnu_long(kind: u8, text: &[u8]) -> Self {
        Self::new(kind, b"././@LongLink").body(&[text, b"\0"].concat())
    }
    /// Contents, with their size in the header.
    pub fn body(mut self, body: &[u8]) -> Self {
        self.body = body.to_vec();
        self.octal(124, 12, body.len() as u64)
    }
    /// Permission bits.
    pub fn mode(self, mode: u64) -> Self {
        self.octal(100, 8, mode)
    }
    /// Owner and group.
    pub fn owned(self, uid: u32, gid: u32) -> Self {
        self.octal(108, 8, uid.into()).octal(116, 8, gid.into())
    }
    /// Device numbers.
    pub fn device(self, major: u64, minor: u64) -> Self {
        self.octal(329, 8, major).octal(337, 8, minor)
    }
    /// Bytes at an offset.
    pub fn raw(mut self, at: usize, bytes: &[u8]) -> Self {
        self.put(at, bytes);
        self
    }
    /// The size field alone, whatever the body is.
    pub fn claims(self, size: u64) -> Self {
        self.octal(124, 12, size)
    }
    fn octal(mut self, at: usize, len: usize, number: u64) -> Self {
        let text = format!("{number:0width$o}\0", width = len - 1);
        self.put(at, text.as_bytes());
        self
    }
    fn put(&mut self, at: usize, bytes: &[u8]) {
        self.block[at..at + bytes.len()].copy_from_slice(bytes);
    }
    /// Header with its sum, body, padding.
    pub fn bytes(&self) -> Vec<u8> {
        let mut block = self.block;
        block[148..156].copy_from_slice(b"        ");
        let sum: u32 = block.iter().map(|b| u32::from(*b)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        let mut out = block.to_vec();
        out.extend_from_slice(&self.body);
        out.resize(out.len().next_multiple_of(512), 0);
        out
    }
}

/// One PAX record.
pub fn record(keyword: &str, value: &[u8]) -> Vec<u8> {
    let fixed = keyword.len() + value.len() + 3;
    let length = (1..).find(|length: &usize| fixed + length.to_string().len() == *length).unwrap();
    [format!("{length} {keyword}=").as_bytes(), value, b"\n"].concat()
}

/// An archive with its end.
pub fn archive(entries: &[Forged]) -> Vec<u8> {
    let mut out: Vec<u8> = entries.iter().flat_map(Forged::bytes).collect();
    out.resize(out.len() + 1024, 0);
    out
}

/// Effective ids of the test.
pub fn owner() -> (u32, u32) {
    (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw())
}
