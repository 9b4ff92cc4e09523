//! The values of a pickle, as far as state dicts need them.

/// The number of a value.
pub type Id = u32;

/// A value, as far as state dicts need to be told apart from other things.
#[derive(Debug)]
pub enum Node {
    /// `None`, a fraction or bytes: nothing that a tensor is made of.
    Other,
    Bool(bool),
    Int(i64),
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
    /// What a class or a function would make of its arguments.
    Object {
        callee: Id,
        args: Id,
        state: Option<Id>,
        items: Vec<(Id, Id)>,
    },
    /// What lies outside of the pickle; PyTorch's storages.
    Persistent(Id),
}

/// The values of a pickle that was run.
pub struct Pickle {
    pub(super) nodes: Vec<Node>,
    pub(super) root: Id,
    /// How many bytes the program has.
    pub length: u64,
}

impl Pickle {
    /// What the program leaves.
    pub fn root(&self) -> Id {
        self.root
    }

    /// The value of that number.
    pub fn node(&self, id: Id) -> &Node {
        // numbers come from this list alone, and nothing is ever taken from it
        &self.nodes[id as usize]
    }

    /// All values.
    pub fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter()
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

    /// The parts of a tuple.
    pub fn tuple(&self, id: Id) -> Option<&[Id]> {
        match self.node(id) {
            Node::Tuple(parts) => Some(parts),
            _ => None,
        }
    }
}
