//! Walks through a pickle before candle's reader does, and refuses what would cost it too much.
//!
//! The reader copies what a program puts into and takes from its memo, trusts lengths, and follows nesting by recursion: a few bytes
//! can ask for gigabytes or overflow the stack. So the program is run here first on sizes alone: every value is its cost and its
//! depth. Only the opcodes that PyTorch writes are let through.

/// Bytes that the values of a program may take, copies included. The largest state dicts take a tenth of it.
const COST_LIMIT: usize = 128 << 20;
/// How deep values may be nested. TorchScript's modules within modules come to about thirty.
const DEPTH_LIMIT: usize = 200;
/// What one value takes, without its text.
const VALUE: usize = 64;

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Mark,
    List,
    Dict,
    /// The class of ordered dictionaries, which the reader makes plain ones.
    DictClass,
    Other,
}

#[derive(Clone, Copy)]
struct Value {
    kind: Kind,
    cost: usize,
    depth: usize,
}

struct Scan<'a> {
    bytes: &'a [u8],
    at: usize,
    stack: Vec<Value>,
    memo: std::collections::HashMap<u32, Value>,
    cost: usize,
}

/// Whether candle's reader may be given this program.
pub fn check(bytes: &[u8]) -> Result<(), String> {
    let mut scan = Scan {
        bytes,
        at: 0,
        stack: vec![],
        memo: std::collections::HashMap::new(),
        cost: 0,
    };
    while scan.step()? {}
    match scan.pop()?.kind {
        Kind::Mark => Err("its pickle ends in a mark".to_owned()),
        _ => Ok(()),
    }
}

impl Scan<'_> {
    fn take(&mut self, count: usize) -> Result<&[u8], String> {
        let end = self.at.checked_add(count);
        let part = end.and_then(|end| self.bytes.get(self.at..end));
        let part = part.ok_or_else(|| "its pickle ends too early".to_owned())?;
        self.at += count;
        Ok(part)
    }

    fn byte(&mut self) -> Result<u8, String> {
        Ok(self.take(1)?[0])
    }

    fn word(&mut self) -> Result<u32, String> {
        let mut word = [0; 4];
        word.copy_from_slice(self.take(4)?);
        Ok(u32::from_le_bytes(word))
    }

    fn line(&mut self) -> Result<&[u8], String> {
        let rest = &self.bytes[self.at..];
        let length = (rest.iter().position(|&byte| byte == b'\n'))
            .ok_or_else(|| "its pickle ends too early".to_owned())?;
        self.at += length + 1;
        Ok(&rest[..length])
    }

    fn pop(&mut self) -> Result<Value, String> {
        (self.stack.pop()).ok_or_else(|| "its pickle takes more than there is".to_owned())
    }

    fn last(&mut self, kind: Kind) -> Result<&mut Value, String> {
        match self.stack.last_mut() {
            Some(value) if value.kind == kind => Ok(value),
            _ => Err("its pickle adds to what is neither list nor dictionary".to_owned()),
        }
    }

    fn spend(&mut self, cost: usize) -> Result<(), String> {
        self.cost = self.cost.saturating_add(cost);
        match self.cost > COST_LIMIT {
            true => Err(format!(
                "its pickle unfolds to more than {} MiB",
                COST_LIMIT >> 20
            )),
            false => Ok(()),
        }
    }

    fn push(&mut self, kind: Kind, cost: usize, depth: usize) -> Result<(), String> {
        if depth > DEPTH_LIMIT {
            return Err(format!("its pickle is nested deeper than {DEPTH_LIMIT}"));
        }
        self.stack.push(Value { kind, cost, depth });
        Ok(())
    }

    /// A new value without parts.
    fn leaf(&mut self, kind: Kind, text: usize) -> Result<(), String> {
        self.spend(VALUE + text)?;
        self.push(kind, VALUE + text, 1)
    }

    /// A new value around others.
    fn around(&mut self, kind: Kind, parts: &[Value]) -> Result<(), String> {
        self.spend(VALUE)?;
        let (cost, depth) = sum(parts);
        self.push(kind, VALUE.saturating_add(cost), depth + 1)
    }

    /// More parts for the list or dictionary on top.
    fn add(&mut self, kind: Kind, parts: &[Value]) -> Result<(), String> {
        let (cost, depth) = sum(parts);
        let top = self.last(kind)?;
        top.cost = top.cost.saturating_add(cost);
        top.depth = top.depth.max(depth + 1);
        match top.depth > DEPTH_LIMIT {
            true => Err(format!("its pickle is nested deeper than {DEPTH_LIMIT}")),
            false => Ok(()),
        }
    }

    fn pop_many(&mut self, count: usize) -> Result<Vec<Value>, String> {
        (0..count).map(|_| self.pop()).collect()
    }

    fn pop_to_mark(&mut self) -> Result<Vec<Value>, String> {
        let mark = (self
            .stack
            .iter()
            .rposition(|value| value.kind == Kind::Mark))
        .ok_or_else(|| "its pickle lacks a mark".to_owned())?;
        let parts = self.stack.split_off(mark + 1);
        self.stack.pop();
        Ok(parts)
    }

    fn put(&mut self, place: u32) -> Result<(), String> {
        let value = *(self.stack.last()).ok_or_else(|| "its pickle keeps nothing".to_owned())?;
        self.spend(value.cost)?;
        self.memo.insert(place, value);
        Ok(())
    }

    fn get(&mut self, place: u32) -> Result<(), String> {
        let value = *(self.memo.get(&place))
            .ok_or_else(|| format!("its pickle wants value {place}, which it has not kept"))?;
        self.spend(value.cost)?;
        self.push(value.kind, value.cost, value.depth)
    }

    /// One opcode; whether more follow.
    fn step(&mut self) -> Result<bool, String> {
        let place = self.at;
        match self.byte()? {
            0x80 => match self.byte()? {
                0..=3 => {}
                version => {
                    return Err(format!(
                        "its pickle is of protocol {version}, and PyTorch's is 2"
                    ));
                }
            },
            b'c' => {
                let module = self.line()?.to_vec();
                let name = self.line()?.to_vec();
                let ordered = module == b"collections"
                    && [&b"OrderedDict"[..], b"defaultdict"].contains(&name.as_slice());
                let kind = if ordered {
                    Kind::DictClass
                } else {
                    Kind::Other
                };
                self.leaf(kind, module.len() + name.len())?;
            }
            b'X' => {
                let length = self.word()? as usize;
                self.take(length)?;
                self.leaf(Kind::Other, length)?;
            }
            b'K' => self.number(1)?,
            b'M' => self.number(2)?,
            b'J' => self.number(4)?,
            b'G' => self.number(8)?,
            0x8a => {
                let length = usize::from(self.byte()?);
                if length > 8 {
                    return Err(format!("its pickle has an integer of {length} bytes"));
                }
                self.number(length)?;
            }
            b'N' | 0x88 | 0x89 | b')' => self.leaf(Kind::Other, 0)?,
            b']' => self.leaf(Kind::List, 0)?,
            b'}' => self.leaf(Kind::Dict, 0)?,
            b'(' => self.leaf(Kind::Mark, 0)?,
            b'Q' => self.wrap(1)?,
            0x85 => self.wrap(1)?,
            0x86 => self.wrap(2)?,
            0x87 => self.wrap(3)?,
            0x81 => self.wrap(2)?,
            b't' => {
                let parts = self.pop_to_mark()?;
                self.around(Kind::Other, &parts)?;
            }
            b'R' => {
                let parts = self.pop_many(2)?;
                match parts[1].kind {
                    Kind::DictClass => self.leaf(Kind::Dict, 0)?,
                    _ => self.around(Kind::Other, &parts)?,
                }
            }
            b'b' => {
                let parts = self.pop_many(2)?;
                match (parts[0].kind, parts[1].kind) {
                    (Kind::Dict, Kind::Dict) => {
                        self.push(Kind::Dict, parts[1].cost, parts[1].depth)?;
                        self.add(Kind::Dict, &parts[..1])?;
                    }
                    _ => self.around(Kind::Other, &parts)?,
                }
            }
            b'a' => {
                let parts = self.pop_many(1)?;
                self.add(Kind::List, &parts)?;
            }
            b'e' => {
                let parts = self.pop_to_mark()?;
                self.add(Kind::List, &parts)?;
            }
            b's' => {
                let parts = self.pop_many(2)?;
                self.add(Kind::Dict, &parts)?;
            }
            b'u' => {
                let parts = self.pop_to_mark()?;
                self.add(Kind::Dict, &parts)?;
            }
            b'q' => {
                let place = self.byte()?;
                self.put(u32::from(place))?;
            }
            b'r' => {
                let place = self.word()?;
                self.put(place)?;
            }
            b'h' => {
                let place = self.byte()?;
                self.get(u32::from(place))?;
            }
            b'j' => {
                let place = self.word()?;
                self.get(place)?;
            }
            b'.' => return Ok(false),
            code => {
                return Err(format!(
                    "its pickle has opcode {code:#04x} at byte {place}, which no state dict needs"
                ));
            }
        }
        Ok(true)
    }

    fn number(&mut self, bytes: usize) -> Result<(), String> {
        self.take(bytes)?;
        self.leaf(Kind::Other, 0)
    }

    fn wrap(&mut self, count: usize) -> Result<(), String> {
        let parts = self.pop_many(count)?;
        self.around(Kind::Other, &parts)
    }
}

fn sum(parts: &[Value]) -> (usize, usize) {
    (parts.iter()).fold((0, 0), |(cost, depth), part| {
        (cost.saturating_add(part.cost), depth.max(part.depth))
    })
}
