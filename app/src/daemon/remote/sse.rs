//! Server-sent events, as far as completions use them: the `data` fields, in order
//! (<https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation>). Lines end with LF or CRLF.

/// Bytes of one event: far more than a token with its log-probabilities takes.
pub(super) const EVENT_BYTES_MAX: usize = 1 << 20;

/// Bytes of a stream on their way to events.
#[derive(Default)]
pub(crate) struct Events {
    /// What came of a line that is not complete.
    line: Vec<u8>,
    /// The `data` lines of an event that is not complete.
    data: Option<String>,
}

impl Events {
    /// The data of every event that these bytes complete.
    ///
    /// # Errors
    /// What is wrong with the stream.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Result<Vec<String>, &'static str> {
        let mut done = Vec::new();
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.line.extend_from_slice(part);
            if self.line.len() + self.data.as_ref().map_or(0, String::len) > EVENT_BYTES_MAX {
                return Err("an event of more than 1 MiB");
            }
            if self.line.ends_with(b"\n") {
                let line = std::mem::take(&mut self.line);
                let line = std::str::from_utf8(&line).map_err(|_| "a line that is not UTF-8")?;
                done.extend(self.take(line.trim_end_matches(['\n', '\r'])));
            }
        }
        Ok(done)
    }

    /// Takes a whole line; the event that it ends.
    fn take(&mut self, line: &str) -> Option<String> {
        if line.is_empty() {
            return self.data.take();
        }
        let value = line.strip_prefix("data:")?;
        let value = value.strip_prefix(' ').unwrap_or(value);
        match &mut self.data {
            Some(data) => {
                data.push('\n');
                data.push_str(value);
            }
            None => self.data = Some(value.to_owned()),
        }
        None
    }
}
