use std::io::{self, Write};

use bytes::Bytes;
use flate2::write::MultiGzDecoder;
use hyper::HeaderMap;
use hyper::header::{CONTENT_ENCODING, CONTENT_LENGTH};

/// A body that the API compressed though it was not asked to, opened as it comes. What is in an answer must be read, and the
/// client may not have asked for it compressed either.
pub struct Gunzip(MultiGzDecoder<Vec<u8>>);

impl Gunzip {
    /// One for an answer with these headers, which then say no more that it is compressed; `None` if it is not.
    pub fn of(headers: &mut HeaderMap) -> Option<Self> {
        let is_gzip = headers
            .get(CONTENT_ENCODING)
            .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"gzip"));
        if !is_gzip {
            return None;
        }
        headers.remove(CONTENT_ENCODING);
        headers.remove(CONTENT_LENGTH);
        Some(Self(MultiGzDecoder::new(Vec::new())))
    }

    /// Opens a piece.
    ///
    /// # Errors
    /// If it is not what it says.
    pub fn push(&mut self, piece: &[u8]) -> io::Result<Bytes> {
        self.0.write_all(piece)?;
        Ok(Bytes::from(std::mem::take(self.0.get_mut())))
    }

    /// What is left at the end.
    ///
    /// # Errors
    /// If the end is missing.
    pub fn finish(&mut self) -> io::Result<Bytes> {
        self.0.try_finish()?;
        Ok(Bytes::from(std::mem::take(self.0.get_mut())))
    }
}
