//! Writes GGUF, version 3.

/// Metadata and tensors of a file to be.
#[derive(Default)]
pub(crate) struct Writer {
    entries: u64,
    metadata: Vec<u8>,
    tensors: Vec<Entry>,
}

/// Name, dimensions, ggml type number and bytes of a tensor.
type Entry = (String, Vec<u64>, u32, Vec<u8>);

/// Bytes that tensors are aligned to.
const ALIGNMENT: usize = 32;

impl Writer {
    fn string(out: &mut Vec<u8>, s: &str) {
        out.extend((s.len() as u64).to_le_bytes());
        out.extend(s.as_bytes());
    }

    /// A value of GGUF type number `kind`, as it is stored.
    pub(crate) fn entry(&mut self, key: &str, kind: u32, value: &[u8]) {
        self.entries += 1;
        Self::string(&mut self.metadata, key);
        self.metadata.extend(kind.to_le_bytes());
        self.metadata.extend(value);
    }

    pub(crate) fn u32(&mut self, key: &str, v: u32) {
        self.entry(key, 4, &v.to_le_bytes());
    }

    /// The bit pattern of an f32.
    pub(crate) fn single(&mut self, key: &str, bits: u32) {
        self.entry(key, 6, &bits.to_le_bytes());
    }

    pub(crate) fn text(&mut self, key: &str, v: &str) {
        let mut bytes = Vec::new();
        Self::string(&mut bytes, v);
        self.entry(key, 8, &bytes);
    }

    pub(crate) fn texts(&mut self, key: &str, list: &[String]) {
        let mut bytes = 8u32.to_le_bytes().to_vec();
        bytes.extend((list.len() as u64).to_le_bytes());
        list.iter().for_each(|s| Self::string(&mut bytes, s));
        self.entry(key, 9, &bytes);
    }

    pub(crate) fn integers(&mut self, key: &str, list: &[i32]) {
        let mut bytes = 5u32.to_le_bytes().to_vec();
        bytes.extend((list.len() as u64).to_le_bytes());
        list.iter().for_each(|v| bytes.extend(v.to_le_bytes()));
        self.entry(key, 9, &bytes);
    }

    /// `dimensions`: the contiguous one first; `kind`: the ggml type number.
    pub(crate) fn tensor(&mut self, name: &str, dimensions: &[usize], kind: u32, bytes: Vec<u8>) {
        let dimensions = dimensions.iter().map(|d| *d as u64).collect();
        self.tensors.push((name.into(), dimensions, kind, bytes));
    }

    #[cfg(test)]
    pub(crate) fn take_tensors(&mut self) -> Vec<Entry> {
        std::mem::take(&mut self.tensors)
    }

    /// The file.
    pub(crate) fn finish(self) -> Vec<u8> {
        let mut out = b"GGUF\x03\0\0\0".to_vec();
        out.extend((self.tensors.len() as u64).to_le_bytes());
        out.extend(self.entries.to_le_bytes());
        out.extend(self.metadata);
        let mut offset = 0u64;
        for (name, dimensions, kind, bytes) in &self.tensors {
            Self::string(&mut out, name);
            out.extend((dimensions.len() as u32).to_le_bytes());
            dimensions.iter().for_each(|d| out.extend(d.to_le_bytes()));
            out.extend(kind.to_le_bytes());
            out.extend(offset.to_le_bytes());
            offset += bytes.len().next_multiple_of(ALIGNMENT) as u64;
        }
        for (_, _, _, bytes) in &self.tensors {
            out.resize(out.len().next_multiple_of(ALIGNMENT), 0);
            out.extend(bytes);
        }
        out
    }
}
