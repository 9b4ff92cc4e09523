//! The values of a pickle, reduced to what state dicts need.

/// The index of a value.
pub type Id = u32;

/// A value.
#[derive(Debug)]
pub enum Node {
    /// Any value that a tensor does not depend on, such as `None`.
    Other,
    Bool(bool),
    Int(i64),
    Float(f64),
    /// Bytes, which are not read: their place, counted from the beginning of the program.
    Bytes {
        start: u64,
        length: u64,
    },
    /// An integer that needs more than 64 bits, little-endian.
    Wide(Box<[u8]>),
    Text(Box<str>),
    Tuple(Vec<Id>),
    /// A list or a set.
    List(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    Class {
        module: Box<str>,
        name: Box<str>,
    },
    /// The result of calling a class or a function, which is never done.
    Object {
        callee: Id,
        args: Id,
        state: Option<Id>,
        items: Vec<(Id, Id)>,
    },
    /// A reference to something outside the pickle; with PyTorch a storage.
    Persistent(Id),
}

/// The values of an interpreted pickle.
pub struct Pickle {
    pub nodes: Vec<Node>,
    pub root: Id,
    /// The length of its program in bytes.
    pub length: u64,
}

impl Pickle {
    /// The value of that index.
    pub fn node(&self, id: Id) -> &Node {
        // indices come from this list only, and no value is ever removed
        &self.nodes[id as usize]
    }

    /// The value as a text.
    pub fn text(&self, id: Id) -> Option<&str> {
        match self.node(id) {
            Node::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The value as a size or an index.
    pub fn size(&self, id: Id) -> Option<usize> {
        match self.node(id) {
            Node::Int(value) => usize::try_from(*value).ok(),
            _ => None,
        }
    }

    /// The items of a dictionary or of an object of a class of dictionaries.
    pub fn items(&self, id: Id) -> &[(Id, Id)] {
        match self.node(id) {
            Node::Dict(items) | Node::Object { items, .. } => items,
            _ => &[],
        }
    }

    /// The parts of a tuple.
    pub fn tuple(&self, id: Id) -> Option<&[Id]> {
        match self.node(id) {
            Node::Tuple(parts) => Some(parts),
            _ => None,
        }
    }
}
