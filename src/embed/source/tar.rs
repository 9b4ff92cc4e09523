//! The members of a tar archive, by its headers: POSIX `ustar` and `pax`, and GNU's long names.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};

const BLOCK: usize = 512;
/// Longest name of a member, and largest extended header, in bytes.
const LARGEST_HEADER: u64 = 1 << 16;
/// Most members of an archive.
const MOST: usize = 1 << 24;

/// A file in an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Member {
    pub name: String,
    /// Where its bytes begin.
    pub offset: u64,
    /// How many they are.
    pub size: u64,
}

/// The regular files of an archive in their order, and why it could not be read to its end.
pub(super) fn members(file: File) -> (Vec<Member>, Option<String>) {
    let mut members = vec![];
    let error = list(file, &mut members)
        .err()
        .map(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => "the archive is truncated".to_owned(),
            _ => error.to_string(),
        });
    (members, error)
}

fn list(file: File, members: &mut Vec<Member>) -> io::Result<()> {
    let length = file.metadata()?.len();
    if length == 0 {
        return Err(invalid("the file is empty"));
    }
    // headers are far apart: more would be read in vain
    let mut file = BufReader::with_capacity(2 * BLOCK, file);
    let mut position = 0;
    let (mut long_name, mut long_size) = (None, None);
    while position < length {
        let mut header = [0; BLOCK];
        file.seek(SeekFrom::Start(position))?;
        file.read_exact(&mut header)?;
        position += BLOCK as u64;
        if header.iter().all(|byte| *byte == 0) {
            break;
        }
        let sum: u64 = (header.iter().enumerate())
            .map(|(index, byte)| {
                if (148..156).contains(&index) {
                    32
                } else {
                    u64::from(*byte)
                }
            })
            .sum();
        if number(&header[148..156]) != Some(sum) {
            return Err(invalid("it is no tar archive, or a damaged one"));
        }
        let mut size = number(&header[124..136])
            .ok_or_else(|| invalid("the size of a member is no number"))?;
        let kind = header[156];
        if matches!(kind, b'L' | b'x') {
            if size > LARGEST_HEADER {
                return Err(invalid("the name of a member is longer than 64 KiB"));
            }
            let mut bytes = vec![0; size as usize];
            file.read_exact(&mut bytes)?;
            if kind == b'L' {
                long_name = Some(name(&bytes));
            } else {
                for (key, value) in records(&bytes) {
                    match key {
                        b"path" => long_name = Some(name(value)),
                        b"size" => {
                            long_size = str::from_utf8(value)
                                .ok()
                                .and_then(|size| size.parse().ok())
                        }
                        _ => {}
                    }
                }
            }
        } else {
            size = long_size.take().unwrap_or(size);
            let short = || {
                let (prefix, own) = (name(&header[345..500]), name(&header[..100]));
                // GNU's own format has other things there
                let has_prefix = &header[257..263] == b"ustar\0" && !prefix.is_empty();
                if has_prefix {
                    format!("{prefix}/{own}")
                } else {
                    own
                }
            };
            let name = long_name.take().unwrap_or_else(short);
            if matches!(kind, b'0' | 0 | b'7') && !name.ends_with('/') {
                if members.len() == MOST {
                    return Err(invalid("it has more than 16 million members"));
                }
                members.push(Member {
                    name,
                    offset: position,
                    size,
                });
            }
        }
        let padded = size.checked_next_multiple_of(BLOCK as u64);
        let end = padded.and_then(|size| position.checked_add(size));
        position = end.ok_or_else(|| invalid("the size of a member is impossible"))?;
    }
    if position > length
        && members
            .last()
            .is_some_and(|last| last.offset + last.size > length)
    {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(())
}

fn invalid(message: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message.to_owned())
}

/// A text that a zero byte ends.
fn name(bytes: &[u8]) -> String {
    let end = bytes
        .iter()
        .position(|byte| *byte == 0)
        .unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

/// A number in octal digits, or in GNU's binary form.
fn number(field: &[u8]) -> Option<u64> {
    if field[0] & 0x80 != 0 {
        let mut bytes = field.to_vec();
        bytes[0] &= 0x7f;
        return bytes.iter().try_fold(0u64, |sum, byte| {
            Some(sum.checked_mul(256)? + u64::from(*byte))
        });
    }
    let text = str::from_utf8(field).ok()?.trim_matches(['\0', ' ']);
    u64::from_str_radix(if text.is_empty() { "0" } else { text }, 8).ok()
}

/// The records of an extended header: `LENGTH KEY=VALUE\n`, where the length is that of the whole record.
fn records(mut bytes: &[u8]) -> Vec<(&[u8], &[u8])> {
    let mut records = vec![];
    while let Some(space) = bytes.iter().position(|byte| *byte == b' ') {
        let length = str::from_utf8(&bytes[..space])
            .ok()
            .and_then(|length| length.parse().ok());
        let Some(length) = length.filter(|length| (space + 2..=bytes.len()).contains(length))
        else {
            break;
        };
        let record = &bytes[space + 1..length - 1];
        if let Some(equals) = record.iter().position(|byte| *byte == b'=') {
            records.push((&record[..equals], &record[equals + 1..]));
        }
        bytes = &bytes[length..];
    }
    records
}
