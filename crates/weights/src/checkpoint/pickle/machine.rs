//! Interprets a pickle symbolically: a class is a name, a call is its parts, and no code is looked up or executed.
//!
//! All values are in one list and refer to each other by index. So a value that is used twice is stored once, a value that contains itself is
//! harmless, and dropping a value that is nested a million deep needs no recursion. Memory is counted, and a program that needs too much is
//! refused. The opcodes are those of protocols 2 to 5 (Python's `pickletools` describes them).

use std::collections::HashMap;
use std::io::Read;

use super::program::{Program, too_early};
use super::value::{Id, Node, Pickle};

/// The limit for the memory of a program's values, in bytes. The largest state dicts need a tenth of it.
const COST_LIMIT: usize = 128 << 20;
/// Bytes of a value without its contents.
const VALUE: usize = 48;
/// Bytes of a reference to a value on the stack, in a list or in the memo.
const REFERENCE: usize = 8;

/// What a program may have.
#[derive(Clone, Copy)]
pub struct Rules {
    /// Whether bytes that are passed over count against the limit of its length.
    pub counts_bytes: bool,
    /// Refuses classes and functions by their modules and names.
    pub check: fn(&str, &str) -> Result<(), String>,
}

impl Pickle {
    /// Interprets the program at the beginning of the input, which may name anything, and reads nothing after it.
    pub fn run(input: impl Read) -> Result<Self, String> {
        let rules = Rules {
            counts_bytes: true,
            check: |_, _| Ok(()),
        };
        Self::run_by(rules, input)
    }

    /// The same by other rules.
    pub fn run_by(rules: Rules, input: impl Read) -> Result<Self, String> {
        let mut machine = Machine {
            rules,
            program: Program::new(input),
            nodes: vec![],
            stack: vec![],
            marks: vec![],
            memo: HashMap::new(),
            cost: 0,
        };
        while machine.step()? {}
        Ok(Self {
            root: machine.pop()?,
            nodes: machine.nodes,
            length: machine.program.taken,
        })
    }
}

struct Machine<R> {
    rules: Rules,
    program: Program<R>,
    nodes: Vec<Node>,
    stack: Vec<Id>,
    /// How long the stack was when each mark was set.
    marks: Vec<usize>,
    memo: HashMap<u64, Id>,
    cost: usize,
}

fn not_a_container() -> String {
    "its pickle adds to a value that is neither a list nor a dictionary".to_owned()
}

impl<R: Read> Machine<R> {
    fn spend(&mut self, cost: usize) -> Result<(), String> {
        self.cost = self.cost.saturating_add(cost);
        if self.cost > COST_LIMIT {
            return Err(format!(
                "its pickle expands to more than {} MiB",
                COST_LIMIT >> 20
            ));
        }
        Ok(())
    }

    fn push(&mut self, id: Id) -> Result<(), String> {
        self.spend(REFERENCE)?;
        self.stack.push(id);
        Ok(())
    }

    /// Pushes a new value onto the stack; `held` is the size of its contents in bytes.
    fn make(&mut self, node: Node, held: usize) -> Result<(), String> {
        self.spend(VALUE.saturating_add(held))?;
        // the limit on what is spent keeps the number within 32 bits
        let id = self.nodes.len() as Id;
        self.nodes.push(node);
        self.push(id)
    }

    fn other(&mut self) -> Result<(), String> {
        self.make(Node::Other, 0)
    }

    /// A text after its length, a number of `N` bytes.
    fn text<const N: usize>(&mut self) -> Result<(), String> {
        let length = self.program.number::<N>()?;
        let bytes = self.program.bytes(length)?;
        let held = bytes.len();
        match String::from_utf8(bytes) {
            Ok(text) => self.make(Node::Text(text.into()), held),
            // not the name of a tensor
            Err(_) => self.other(),
        }
    }

    /// Bytes after their length, a number of `N` bytes.
    fn blob<const N: usize>(&mut self) -> Result<(), String> {
        let length = self.program.number::<N>()?;
        let start = self.program.taken;
        if self.rules.counts_bytes {
            self.program.skip(length)?;
        } else {
            self.program.pass(length)?;
        }
        self.make(Node::Bytes { start, length }, 0)
    }

    fn int(&mut self, value: i64) -> Result<(), String> {
        self.make(Node::Int(value), 0)
    }

    /// An integer of any length, little-endian in two's complement, after its length, a number of `N` bytes.
    fn integer<const N: usize>(&mut self) -> Result<(), String> {
        let length = self.program.number::<N>()?;
        let bytes = self.program.bytes(length)?;
        let negative = bytes.last().is_some_and(|byte| byte & 0x80 != 0);
        let fill = if negative { 0xff } else { 0 };
        let (low, high) = bytes.split_at(bytes.len().min(8));
        let mut word = [fill; 8];
        word[..low.len()].copy_from_slice(low);
        let value = i64::from_le_bytes(word);
        let fits = high.iter().all(|&byte| byte == fill) && (value < 0) == negative;
        if fits {
            return self.int(value);
        }
        let held = bytes.len();
        self.make(Node::Wide(bytes.into()), held)
    }

    fn pop(&mut self) -> Result<Id, String> {
        let floor = self.marks.last().copied().unwrap_or(0);
        if self.stack.len() <= floor {
            return Err("its pickle takes more than there is".to_owned());
        }
        self.stack.pop().ok_or_else(too_early)
    }

    fn top(&self) -> Result<Id, String> {
        let floor = self.marks.last().copied().unwrap_or(0);
        (self.stack.get(floor..))
            .and_then(|above| above.last().copied())
            .ok_or_else(|| "its pickle keeps nothing".to_owned())
    }

    fn pop_many(&mut self, count: usize) -> Result<Vec<Id>, String> {
        let mut parts: Vec<Id> = (0..count).map(|_| self.pop()).collect::<Result<_, _>>()?;
        parts.reverse();
        Ok(parts)
    }

    fn pop_to_mark(&mut self) -> Result<Vec<Id>, String> {
        let mark = (self.marks.pop()).ok_or_else(|| "its pickle lacks a mark".to_owned())?;
        Ok(self.stack.split_off(mark))
    }

    /// Pushes a tuple or a list.
    fn sequence(&mut self, node: fn(Vec<Id>) -> Node, parts: Vec<Id>) -> Result<(), String> {
        let held = parts.len() * REFERENCE;
        self.make(node(parts), held)
    }

    fn class(&mut self, module: Box<str>, name: Box<str>) -> Result<(), String> {
        (self.rules.check)(&module, &name)?;
        let held = module.len() + name.len();
        self.make(Node::Class { module, name }, held)
    }

    /// Pushes the result of `callee(*args)`: a dictionary for Python's own dictionary classes, otherwise an object that keeps the call.
    fn call(&mut self, callee: Id, args: Id) -> Result<(), String> {
        let is_dict = match &self.nodes[callee as usize] {
            Node::Class { module, name } => matches!(
                (&**module, &**name),
                ("collections", "OrderedDict" | "defaultdict")
                    | ("builtins" | "__builtin__", "dict")
            ),
            _ => false,
        };
        if is_dict {
            let items = self.pairs(args);
            let held = 2 * items.len() * REFERENCE;
            return self.make(Node::Dict(items), held);
        }
        let (state, items) = (None, vec![]);
        self.make(
            Node::Object {
                callee,
                args,
                state,
                items,
            },
            0,
        )
    }

    /// The items of `OrderedDict([[key, value], ...])`, as Python 2 writes it.
    fn pairs(&self, args: Id) -> Vec<(Id, Id)> {
        let parts = |id: Id| match &self.nodes[id as usize] {
            Node::Tuple(parts) | Node::List(parts) => parts.as_slice(),
            _ => &[],
        };
        let pairs = parts(args).first().map_or(&[][..], |&pairs| parts(pairs));
        (pairs.iter())
            .filter_map(|&pair| match *parts(pair) {
                [key, value] => Some((key, value)),
                _ => None,
            })
            .collect()
    }

    /// More items for the dictionary on top.
    fn set(&mut self, items: &[Id]) -> Result<(), String> {
        self.spend(items.len() * REFERENCE)?;
        let top = self.top()? as usize;
        let pairs = items.chunks_exact(2).map(|pair| (pair[0], pair[1]));
        match &mut self.nodes[top] {
            Node::Dict(kept) | Node::Object { items: kept, .. }
                if items.len().is_multiple_of(2) =>
            {
                kept.extend(pairs);
                Ok(())
            }
            _ => Err(not_a_container()),
        }
    }

    /// More parts for the list or set on top.
    fn append(&mut self, parts: &[Id]) -> Result<(), String> {
        self.spend(parts.len() * REFERENCE)?;
        let top = self.top()? as usize;
        match &mut self.nodes[top] {
            Node::List(kept) => kept.extend_from_slice(parts),
            // a subclass of list
            Node::Object { .. } => {}
            _ => return Err(not_a_container()),
        }
        Ok(())
    }

    fn put(&mut self, place: u64) -> Result<(), String> {
        let value = self.top()?;
        self.spend(4 * REFERENCE)?;
        self.memo.insert(place, value);
        Ok(())
    }

    fn get(&mut self, place: u64) -> Result<(), String> {
        let value = *(self.memo.get(&place)).ok_or_else(|| {
            format!("its pickle refers to value {place} of its memo, which does not exist")
        })?;
        self.push(value)
    }

    /// One opcode; whether more follow.
    fn step(&mut self) -> Result<bool, String> {
        let place = self.program.taken;
        match self.program.byte()? {
            // PROTO
            0x80 => match self.program.byte()? {
                0..=5 => {}
                version => {
                    return Err(format!(
                        "its pickle has protocol {version}; protocols up to 5 are supported"
                    ));
                }
            },
            // FRAME: how much is read at once
            0x95 => self.program.skip(8)?,
            // GLOBAL, STACK_GLOBAL
            b'c' => {
                let module = self.program.line()?;
                let name = self.program.line()?;
                self.class(module, name)?;
            }
            0x93 => {
                let parts = self.pop_many(2)?;
                let text = |id: Id| match &self.nodes[id as usize] {
                    Node::Text(text) => Ok(text.clone()),
                    _ => Err("its pickle has a class without a name".to_owned()),
                };
                let (module, name) = (text(parts[0])?, text(parts[1])?);
                self.class(module, name)?;
            }
            // BINUNICODE, SHORT_BINUNICODE, BINUNICODE8; BINSTRING and SHORT_BINSTRING, which Python 2 writes
            b'X' | b'T' => self.text::<4>()?,
            0x8c | b'U' => self.text::<1>()?,
            0x8d => self.text::<8>()?,
            // BINBYTES, SHORT_BINBYTES, BINBYTES8, BYTEARRAY8
            b'B' => self.blob::<4>()?,
            b'C' => self.blob::<1>()?,
            0x8e | 0x96 => self.blob::<8>()?,
            // BININT, BININT1, BININT2, LONG1, LONG4
            b'J' => {
                let value = i32::from_le_bytes(self.program.array()?);
                self.int(value.into())?;
            }
            b'K' => (self.program.number::<1>()).and_then(|value| self.int(value as i64))?,
            b'M' => (self.program.number::<2>()).and_then(|value| self.int(value as i64))?,
            0x8a => self.integer::<1>()?,
            0x8b => self.integer::<4>()?,
            // BINFLOAT; NONE, NEWTRUE, NEWFALSE
            b'G' => {
                let value = f64::from_be_bytes(self.program.array()?);
                self.make(Node::Float(value), 0)?;
            }
            b'N' => self.other()?,
            code @ (0x88 | 0x89) => self.make(Node::Bool(code == 0x88), 0)?,
            // EMPTY_TUPLE, EMPTY_LIST, EMPTY_SET, EMPTY_DICT
            b')' => self.sequence(Node::Tuple, vec![])?,
            b']' | 0x8f => self.sequence(Node::List, vec![])?,
            b'}' => self.make(Node::Dict(vec![]), 0)?,
            // MARK, POP, POP_MARK, DUP
            b'(' => {
                self.spend(REFERENCE)?;
                self.marks.push(self.stack.len());
            }
            b'0' => {
                // with a mark on top, Python takes the mark
                if self.marks.last() == Some(&self.stack.len()) {
                    self.marks.pop();
                } else {
                    self.pop()?;
                }
            }
            b'1' => drop(self.pop_to_mark()?),
            b'2' => (self.top()).and_then(|top| self.push(top))?,
            // TUPLE, TUPLE1, TUPLE2, TUPLE3, FROZENSET
            b't' => (self.pop_to_mark()).and_then(|parts| self.sequence(Node::Tuple, parts))?,
            code @ 0x85..=0x87 => {
                let parts = self.pop_many(usize::from(code - 0x84))?;
                self.sequence(Node::Tuple, parts)?;
            }
            0x91 => (self.pop_to_mark()).and_then(|parts| self.sequence(Node::List, parts))?,
            // APPEND, APPENDS, ADDITEMS, SETITEM, SETITEMS
            b'a' => (self.pop_many(1)).and_then(|parts| self.append(&parts))?,
            b'e' | 0x90 => (self.pop_to_mark()).and_then(|parts| self.append(&parts))?,
            b's' => (self.pop_many(2)).and_then(|items| self.set(&items))?,
            b'u' => (self.pop_to_mark()).and_then(|items| self.set(&items))?,
            // REDUCE, NEWOBJ, NEWOBJ_EX, BUILD
            b'R' | 0x81 => (self.pop_many(2)).and_then(|parts| self.call(parts[0], parts[1]))?,
            0x92 => (self.pop_many(3)).and_then(|parts| self.call(parts[0], parts[1]))?,
            b'b' => {
                let found = self.pop()?;
                let top = self.top()? as usize;
                // the attributes of a dictionary, such as PyTorch's `_metadata`, are not items
                if let Node::Object { state, .. } = &mut self.nodes[top] {
                    *state = Some(found);
                }
            }
            // BINPERSID
            b'Q' => (self.pop()).and_then(|id| self.make(Node::Persistent(id), 0))?,
            // BINPUT, LONG_BINPUT, MEMOIZE, BINGET, LONG_BINGET
            b'q' => (self.program.number::<1>()).and_then(|place| self.put(place))?,
            b'r' => (self.program.number::<4>()).and_then(|place| self.put(place))?,
            0x94 => self.put(self.memo.len() as u64)?,
            b'h' => (self.program.number::<1>()).and_then(|place| self.get(place))?,
            b'j' => (self.program.number::<4>()).and_then(|place| self.get(place))?,
            // STOP
            b'.' => return Ok(false),
            code => {
                return Err(format!(
                    "its pickle has the unsupported opcode {code:#04x} at byte {place}"
                ));
            }
        }
        Ok(true)
    }
}
