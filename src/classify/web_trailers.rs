//! The trailers of gRPC-Web, which are the last frame of a body.

use std::io::IoSlice;
use std::mem;

use ::http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use ::http::{HeaderMap, HeaderName, HeaderValue};
use bytes::Buf;

/// Finds the trailers in the data of a body, which it sees a piece at a time. It keeps no byte but theirs.
///
/// A body of gRPC-Web is a row of frames: a byte of flags, a length in four bytes, then so many bytes. The highest of the
/// flags marks the trailers, which are lines as HTTP/1 has them (gRPC: `PROTOCOL-WEB.md`).
#[derive(Debug)]
pub(crate) struct WebTrailers(State);

#[derive(Debug)]
enum State {
    /// Before a frame, or within its first five bytes, of which so many are known.
    Head { bytes: [u8; HEAD], known: usize },
    /// Within a message, of which so many bytes are to come.
    Message { left: usize },
    /// Within the trailers, of which this much has come.
    Block { read: Vec<u8>, length: usize },
    /// They have been found, or are longer than anything that is read.
    Over,
    /// They are compressed, or the data was not to be seen.
    Unreadable,
}

/// Flags and length.
const HEAD: usize = 5;
const TRAILERS: u8 = 0x80;
const COMPRESSED: u8 = 0x01;
/// Of more metadata than that, gRPC's own clients take no notice by default.
const MAX_LENGTH: usize = 8 * 1024;
/// Data is looked at in so many pieces, where it is in pieces.
const MOST_PIECES: usize = 16;

impl WebTrailers {
    /// Tells whether the body of a response with these headers has its trailers within, in bytes that can be read: not as
    /// text (`application/grpc-web-text`), and not in another encoding.
    pub(crate) fn are_told_by(headers: &HeaderMap) -> bool {
        const TYPE: &[u8] = b"application/grpc-web";
        let content_type = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
        let is_binary =
            content_type.and_then(|value| value.split_at_checked(TYPE.len())).is_some_and(|(kind, rest)| {
                kind.eq_ignore_ascii_case(TYPE) && matches!(rest.first(), None | Some(b'+' | b';' | b' ' | b'\t'))
            });
        is_binary
            && headers.get_all(CONTENT_ENCODING).iter().all(|value| value.as_bytes().eq_ignore_ascii_case(b"identity"))
    }

    /// What looks for them, where they are to be found.
    pub(crate) fn of(headers: &HeaderMap) -> Option<Self> {
        Self::are_told_by(headers).then_some(Self(State::BETWEEN))
    }

    /// Sees the next data of the body. Returns the trailers once they are whole.
    pub(crate) fn read(&mut self, data: &impl Buf) -> Option<HeaderMap> {
        let mut pieces = [IoSlice::new(&[]); MOST_PIECES];
        let count = data.chunks_vectored(&mut pieces);
        let mut unseen = data.remaining();
        for piece in pieces.iter().take(count) {
            let found = self.see(piece);
            if found.is_some() {
                return found;
            }
            unseen = unseen.saturating_sub(piece.len());
        }
        self.pass(unseen);
        None
    }

    /// Tells whether there may have been trailers that could not be read.
    pub(crate) const fn are_unreadable(&self) -> bool {
        matches!(self.0, State::Unreadable)
    }

    fn see(&mut self, mut data: &[u8]) -> Option<HeaderMap> {
        while !data.is_empty() {
            let (more, next) = match &mut self.0 {
                State::Head { bytes, known } => {
                    let (now, rest) = data.split_at(data.len().min(HEAD - *known));
                    bytes.iter_mut().skip(*known).zip(now).for_each(|(byte, new)| *byte = *new);
                    *known += now.len();
                    (rest, (*known == HEAD).then(|| State::after(*bytes)))
                }
                State::Message { left } => {
                    let (now, rest) = data.split_at(data.len().min(*left));
                    *left -= now.len();
                    (rest, (*left == 0).then_some(State::BETWEEN))
                }
                State::Block { read, length } => {
                    let (now, rest) = data.split_at(data.len().min(*length - read.len()));
                    read.extend_from_slice(now);
                    (rest, None)
                }
                State::Over | State::Unreadable => return None,
            };
            data = more;
            if let Some(next) = next {
                self.0 = next;
            }
            if let State::Block { read, length } = &mut self.0
                && read.len() == *length
            {
                let block = mem::take(read);
                self.0 = State::Over;
                return Some(lines(&block));
            }
        }
        None
    }

    /// Goes on behind bytes that are not to be seen: within a message none of them matters.
    fn pass(&mut self, unseen: usize) {
        match &mut self.0 {
            _ if unseen == 0 => {}
            State::Message { left } if *left > unseen => *left -= unseen,
            State::Message { left } if *left == unseen => self.0 = State::BETWEEN,
            State::Over => {}
            _ => self.0 = State::Unreadable,
        }
    }
}

impl State {
    const BETWEEN: Self = Self::Head { bytes: [0; HEAD], known: 0 };

    /// What follows these first bytes of a frame.
    fn after([flags, length @ ..]: [u8; HEAD]) -> Self {
        let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
        match length {
            0 if flags & TRAILERS == 0 => Self::BETWEEN,
            left if flags & TRAILERS == 0 => Self::Message { left },
            _ if flags & COMPRESSED != 0 => Self::Unreadable,
            _ if length > MAX_LENGTH => Self::Over,
            length => Self::Block { read: Vec::new(), length },
        }
    }
}

/// Reads lines of HTTP/1; what is none is left out.
fn lines(block: &[u8]) -> HeaderMap {
    let fields = block.split(|byte| *byte == b'\n').filter_map(|line| {
        let (name, value) = line.split_at(line.iter().position(|byte| *byte == b':')?);
        let value = value.get(1..)?.trim_ascii();
        Some((HeaderName::from_bytes(name).ok()?, HeaderValue::from_bytes(value).ok()?))
    });
    let mut trailers = HeaderMap::new();
    for (name, value) in fields {
        trailers.append(name, value);
    }
    trailers
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use proptest::prelude::*;

    fn frame(flags: u8, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).expect("short").to_be_bytes();
        [&[flags][..], &length, payload].concat()
    }

    fn reader() -> WebTrailers {
        WebTrailers(State::BETWEEN)
    }

    /// What is found in these pieces, and in which of them.
    fn found<B: Buf>(reader: &mut WebTrailers, pieces: impl IntoIterator<Item = B>) -> Option<(usize, HeaderMap)> {
        pieces.into_iter().enumerate().find_map(|(nth, piece)| Some((nth, reader.read(&piece)?)))
    }

    /// The header names and values as text.
    fn text(trailers: &HeaderMap) -> Vec<(&str, &[u8])> {
        trailers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect()
    }

    fn content(kind: &'static str, encoding: Option<&'static str>) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        if let Some(encoding) = encoding {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static(encoding));
        }
        headers
    }

    #[test]
    fn only_what_is_binary_and_not_encoded_is_looked_at() {
        for (kind, encoding, is_read) in [
            ("application/grpc-web", None, true),
            ("application/grpc-web+proto", None, true),
            ("application/grpc-web+json", None, true),
            ("Application/gRPC-Web; charset=utf-8", None, true),
            ("application/grpc-web+proto", Some("identity"), true),
            ("application/grpc-web+proto", Some("gzip"), false),
            ("application/grpc-web-text", None, false),
            ("application/grpc-web-text+proto", None, false),
            ("application/grpc-webs", None, false),
            ("application/grpc", None, false),
            ("text/plain", None, false),
        ] {
            assert_eq!(WebTrailers::are_told_by(&content(kind, encoding)), is_read, "{kind}, {encoding:?}");
        }
        assert!(!WebTrailers::are_told_by(&HeaderMap::new()));
    }

    #[test]
    fn lines_are_read_as_http_1_has_them() {
        let block = b"grpc-status:0\r\nGRPC-Message: a: b \r\n\r\nx-last:\ngrpc-status\xff: 9\r\nno line\r\n: none\r\nbad name: 1";
        let seen = lines(block);
        let expected: [(&str, &[u8]); 3] = [("grpc-status", b"0"), ("grpc-message", b"a: b"), ("x-last", b"")];
        assert_eq!(text(&seen), expected);
        assert!(lines(b"").is_empty());
        assert!(lines(b":\n:\r\n\r\n\0:\0").is_empty());
        // As many lines as there is room for.
        assert_eq!(lines("a:\n".repeat(MAX_LENGTH / 3).as_bytes()).len(), MAX_LENGTH / 3);
    }

    #[test]
    fn a_block_that_is_too_long_is_never_kept() {
        let long = vec![b'a'; MAX_LENGTH + 1];
        for length in [MAX_LENGTH + 1, 1 << 24, u32::MAX as usize] {
            let mut reader = reader();
            let head = [&[TRAILERS][..], &u32::try_from(length).expect("32 bits").to_be_bytes()].concat();
            let rest: &[u8] = b"grpc-status:0\r\n";
            assert!(found(&mut reader, [&head[..], rest, &long]).is_none());
            assert!(matches!(reader.0, State::Over), "{length}: {reader:?}");
        }
        let mut reader = reader();
        let (nth, trailers) = found(&mut reader, [&frame(TRAILERS, &long[1..])[..]]).expect("short enough");
        assert!(nth == 0 && trailers.is_empty(), "no line");
    }

    #[test]
    fn an_empty_block_is_whole_with_its_length() {
        let mut reader = reader();
        let (nth, trailers) = found(&mut reader, [&[TRAILERS, 0, 0, 0][..], &[0], b"more"]).expect("whole");
        assert!(nth == 1 && trailers.is_empty());
        assert!(found(&mut reader, [&frame(TRAILERS, b"grpc-status:0")[..]]).is_none(), "the first counts");
    }

    #[test]
    fn what_is_compressed_cannot_be_read() {
        let mut reader = reader();
        assert!(found(&mut reader, [&frame(TRAILERS | COMPRESSED, b"...")[..]]).is_none());
        assert!(reader.are_unreadable());
    }

    /// Shows one byte at a time, as a buffer may.
    struct Shy(Bytes);

    impl Buf for Shy {
        fn remaining(&self) -> usize {
            self.0.remaining()
        }

        fn chunk(&self) -> &[u8] {
            &self.0[..self.0.len().min(1)]
        }

        fn advance(&mut self, count: usize) {
            self.0.advance(count);
        }
    }

    #[test]
    fn data_that_is_not_shown_matters_only_where_it_is_no_message() {
        let block = frame(TRAILERS, b"grpc-status:7");
        // A message of which only the first byte is seen, and the trailers whole.
        let mut whole = reader();
        assert!(whole.read(&&frame(0, b"hello")[..HEAD]).is_none());
        assert!(whole.read(&Shy(Bytes::from_static(b"hello"))).is_none());
        assert_eq!(whole.read(&&block[..]).expect("found")["grpc-status"], "7");
        // Beyond the message, or before it.
        for (hidden, seen) in [(frame(0, b"hello"), &b""[..]), (b"hello, and more".to_vec(), &b"\0\0\0\0\x05"[..])] {
            let mut lost = reader();
            assert!(lost.read(&seen).is_none());
            assert!(lost.read(&Shy(Bytes::from(hidden))).is_none());
            assert!(lost.are_unreadable());
            assert!(lost.read(&&block[..]).is_none());
        }
    }

    #[test]
    fn data_in_pieces_of_its_own_is_seen_whole() {
        let body = [frame(0, b"hello"), frame(TRAILERS, b"grpc-status:7")].concat();
        for cut in 0..body.len() {
            let (one, other) = body.split_at(cut);
            assert_eq!(reader().read(&one.chain(other)).expect("found")["grpc-status"], "7", "{cut}");
        }
    }

    proptest! {
        #[test]
        fn the_trailers_are_found_however_the_body_is_cut(
            messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..6),
            status in 0_u8..20,
            cuts in prop::collection::vec(1_usize..9, 0..60),
        ) {
            let mut body: Vec<u8> = messages.iter().flat_map(|message| frame(0, message)).collect();
            body.extend(frame(TRAILERS, format!("grpc-status: {status}\r\nx-more: 1\r\n").as_bytes()));
            let (mut rest, mut pieces) = (&body[..], Vec::new());
            for cut in cuts {
                let (piece, more) = rest.split_at(cut.min(rest.len()));
                pieces.push(piece);
                rest = more;
            }
            pieces.push(rest);
            let last = pieces.iter().rposition(|piece| !piece.is_empty()).expect("a body");
            let (nth, trailers) = found(&mut reader(), pieces).expect("they are there");
            prop_assert_eq!(nth, last);
            prop_assert_eq!(&trailers["grpc-status"], &status.to_string());
        }

        #[test]
        fn a_body_of_any_bytes_is_read_within_bounds(
            pieces in prop::collection::vec(prop::collection::vec(prop_oneof![Just(0_u8), Just(0x80), Just(1), any::<u8>()], 0..200), 0..60),
        ) {
            let mut reader = reader();
            for piece in pieces {
                reader.read(&&piece[..]);
                if let State::Block { read, length } = &reader.0 {
                    prop_assert!(read.len() < *length && *length <= MAX_LENGTH);
                }
            }
        }
    }
}
