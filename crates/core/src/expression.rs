//! Expressions of `t`, for numbers that change over a render.
//!
//! The notation is that of mathematics and of Python: `^` (or `**`) binds tighter than a sign, so `-t^2` is `-(t^2)`,
//! and from the right, so `2^3^2` is `2^9`. Existing crates read the first as `(-t)^2`, the second as `8^2`, or do not
//! read `1e-3`; each of these would silently change a schedule.

use crate::diagnostic::nearest;

/// The longest expression.
const MAX_BYTES: usize = 1000;
/// Deepest nesting, which bounds the recursion of the parser and the evaluation.
const MAX_DEPTH: usize = 50;

/// A parsed expression.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Expression {
    Constant(f64),
    Time,
    Call(&'static Function, Vec<Expression>),
}

/// A function or an operator: its name, how many arguments it takes and what it computes.
#[derive(Debug)]
pub(super) struct Function {
    name: &'static str,
    least: usize,
    most: usize,
    compute: fn(&[f64]) -> f64,
}

impl PartialEq for Function {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

macro_rules! functions {
    ($($name:literal $least:literal..=$most:expr => $compute:expr;)*) => {
        &[$(Function { name: $name, least: $least, most: $most, compute: $compute }),*]
    };
}

const NEGATED: &Function = &functions! { "-" 1..=1 => |x| -x[0]; }[0];
const POWER: &Function = &functions! { "^" 2..=2 => |x| x[0].powf(x[1]); }[0];
/// The operators that bind less tightly than a sign, by precedence; each level is read from the left.
const OPERATORS: [&[Function]; 2] = [
    functions! {
        "+" 2..=2 => |x| x[0] + x[1];
        "-" 2..=2 => |x| x[0] - x[1];
    },
    functions! {
        "*" 2..=2 => |x| x[0] * x[1];
        "/" 2..=2 => |x| x[0] / x[1];
    },
];

const FUNCTIONS: &[Function] = functions! {
    "abs" 1..=1 => |x| x[0].abs();
    "ceil" 1..=1 => |x| x[0].ceil();
    "clamp" 3..=3 => |x| x[0].max(x[1]).min(x[2]);
    "cos" 1..=1 => |x| x[0].cos();
    "exp" 1..=1 => |x| x[0].exp();
    "floor" 1..=1 => |x| x[0].floor();
    "ln" 1..=1 => |x| x[0].ln();
    "max" 2..=usize::MAX => |x| x.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    "min" 2..=usize::MAX => |x| x.iter().copied().fold(f64::INFINITY, f64::min);
    "mix" 3..=3 => |x| x[0] + (x[1] - x[0]) * x[2];
    "mod" 2..=2 => |x| x[0].rem_euclid(x[1]);
    "pow" 2..=2 => |x| x[0].powf(x[1]);
    "round" 1..=1 => |x| x[0].round();
    "sin" 1..=1 => |x| x[0].sin();
    "smoothstep" 3..=3 => |x| {
        let s = ((x[2] - x[0]) / (x[1] - x[0])).clamp(0.0, 1.0);
        s * s * (3.0 - 2.0 * s)
    };
    "sqrt" 1..=1 => |x| x[0].sqrt();
    "step" 2..=2 => |x| if x[1] < x[0] { 0.0 } else { 1.0 };
    "tan" 1..=1 => |x| x[0].tan();
    "tanh" 1..=1 => |x| x[0].tanh();
};

const CONSTANTS: &[(&str, f64)] = &[
    ("e", std::f64::consts::E),
    ("pi", std::f64::consts::PI),
    ("tau", std::f64::consts::TAU),
];

impl Expression {
    /// Parses an expression; the error is the end of a sentence.
    pub(super) fn parse(source: &str) -> Result<Self, String> {
        if source.len() > MAX_BYTES {
            return Err(format!("it is longer than {MAX_BYTES} bytes"));
        }
        let mut parser = Parser {
            source,
            at: 0,
            depth: 0,
        };
        let expression = parser.operators(0)?;
        match parser.peek() {
            None => Ok(expression),
            Some(found) => Err(format!(
                "`{found}` at character {} is one too many",
                parser.column()
            )),
        }
    }

    /// The value at `t`.
    pub(super) fn at(&self, t: f64) -> f64 {
        match self {
            Self::Constant(value) => *value,
            Self::Time => t,
            Self::Call(function, arguments) => {
                let values: Vec<f64> = arguments.iter().map(|argument| argument.at(t)).collect();
                (function.compute)(&values)
            }
        }
    }

    /// Whether `t` occurs in it.
    pub(super) fn changes(&self) -> bool {
        match self {
            Self::Constant(_) => false,
            Self::Time => true,
            Self::Call(_, arguments) => arguments.iter().any(Self::changes),
        }
    }
}

struct Parser<'a> {
    source: &'a str,
    at: usize,
    depth: usize,
}

impl Parser<'_> {
    fn rest(&self) -> &str {
        &self.source[self.at..]
    }

    /// The next character that is not white space.
    fn peek(&mut self) -> Option<char> {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start().len();
        self.rest().chars().next()
    }

    fn take(&mut self, wanted: &str) -> bool {
        self.peek();
        let found = self.rest().starts_with(wanted);
        if found {
            self.at += wanted.len();
        }
        found
    }

    /// The present position, counted in characters from 1.
    fn column(&self) -> usize {
        self.source[..self.at].chars().count() + 1
    }

    fn nested<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, String>,
    ) -> Result<T, String> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err("it is nested too deeply".to_owned());
        }
        let result = read(self);
        self.depth -= 1;
        result
    }

    /// A chain of operators of one level between operands of the next.
    fn operators(&mut self, level: usize) -> Result<Expression, String> {
        let Some(operators) = OPERATORS.get(level) else {
            return self.signed();
        };
        let mut left = self.operators(level + 1)?;
        let mut links = 0;
        while let Some(operator) = operators.iter().find(|known| self.take(known.name)) {
            // a chain grows to the left, so its length counts as depth
            links += 1;
            if links > MAX_DEPTH {
                return Err("it is too long".to_owned());
            }
            left = Expression::Call(operator, vec![left, self.operators(level + 1)?]);
        }
        Ok(left)
    }

    fn signed(&mut self) -> Result<Expression, String> {
        if self.take("-") {
            let inner = self.nested(Self::signed)?;
            return Ok(Expression::Call(NEGATED, vec![inner]));
        }
        if self.take("+") {
            return self.nested(Self::signed);
        }
        let base = self.atom()?;
        if self.take("^") || self.take("**") {
            let exponent = self.nested(Self::signed)?;
            return Ok(Expression::Call(POWER, vec![base, exponent]));
        }
        Ok(base)
    }

    fn atom(&mut self) -> Result<Expression, String> {
        match self.peek() {
            None => Err("it ends where a number, `t` or `(` should follow".to_owned()),
            Some('(') => {
                self.at += 1;
                let inner = self.nested(|parser| parser.operators(0))?;
                self.close()?;
                Ok(inner)
            }
            Some(c) if c.is_ascii_digit() || c == '.' => self.number(),
            Some(c) if c.is_alphabetic() || c == '_' => self.word(),
            Some(c) => Err(format!(
                "`{c}` stands at character {}, where a number, `t` or `(` should",
                self.column()
            )),
        }
    }

    fn close(&mut self) -> Result<(), String> {
        if self.take(")") {
            return Ok(());
        }
        let column = self.column();
        Err(match self.peek() {
            Some(found) => format!("`{found}` stands at character {column}, where `)` should"),
            None => "a `)` is missing at its end".to_owned(),
        })
    }

    fn number(&mut self) -> Result<Expression, String> {
        let bytes = self.rest().as_bytes();
        let digits = |from: usize| {
            bytes[from..]
                .iter()
                .take_while(|b| b.is_ascii_digit())
                .count()
        };
        let mut end = digits(0);
        if bytes.get(end) == Some(&b'.') {
            end += 1 + digits(end + 1);
        }
        if matches!(bytes.get(end), Some(b'e' | b'E')) {
            let sign = usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-')));
            let exponent = digits(end + 1 + sign);
            if exponent > 0 {
                end += 1 + sign + exponent;
            }
        }
        let text = &self.rest()[..end];
        let value = text
            .parse()
            .map_err(|_| format!("`{text}` at character {} is not a number", self.column()))?;
        self.at += end;
        Ok(Expression::Constant(value))
    }

    fn word(&mut self) -> Result<Expression, String> {
        let rest = self.rest();
        let end = rest
            .find(|c: char| !c.is_alphanumeric() && c != '_')
            .unwrap_or(rest.len());
        let name = rest[..end].to_owned();
        self.at += end;
        if self.peek() == Some('(') {
            return self.call(&name);
        }
        if name == "t" {
            return Ok(Expression::Time);
        }
        if let Some((_, value)) = CONSTANTS.iter().find(|(known, _)| *known == name) {
            return Ok(Expression::Constant(*value));
        }
        if FUNCTIONS.iter().any(|function| function.name == name) {
            return Err(format!("`{name}` is a function: write `{name}(...)`"));
        }
        Err(format!(
            "`{name}` is unknown: the variable is `t`, the share of the render that is done, 0 to 1"
        ))
    }

    fn call(&mut self, name: &str) -> Result<Expression, String> {
        let Some(function) = FUNCTIONS.iter().find(|function| function.name == name) else {
            let known: Vec<_> = FUNCTIONS.iter().map(|function| function.name).collect();
            let advice = match nearest(name, &known) {
                Some(nearest) => format!("did you mean `{nearest}`?"),
                None => format!("there are {}", known.join(", ")),
            };
            return Err(format!("there is no function `{name}`; {advice}"));
        };
        self.take("(");
        let mut arguments = vec![];
        if self.peek() != Some(')') {
            arguments.push(self.nested(|parser| parser.operators(0))?);
            while self.take(",") {
                arguments.push(self.nested(|parser| parser.operators(0))?);
            }
        }
        self.close()?;
        if (function.least..=function.most).contains(&arguments.len()) {
            return Ok(Expression::Call(function, arguments));
        }
        let takes = match (function.least, function.most) {
            (1, 1) => "1 argument".to_owned(),
            (least, most) if least == most => format!("{least} arguments"),
            (least, _) => format!("{least} arguments or more"),
        };
        Err(format!("`{name}` takes {takes}, not {}", arguments.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(source: &str, t: f64) -> f64 {
        Expression::parse(source)
            .unwrap_or_else(|error| panic!("{source}: {error}"))
            .at(t)
    }

    fn error(source: &str) -> String {
        Expression::parse(source).unwrap_err()
    }

    #[test]
    fn arithmetic_is_that_of_mathematics() {
        for (source, expected) in [
            ("1 + 2 * 3", 7.0),
            ("(1 + 2) * 3", 9.0),
            ("10 - 4 - 3", 3.0),
            ("8 / 4 / 2", 1.0),
            ("-2^2", -4.0),
            ("2^3^2", 512.0),
            ("2**-1", 0.5),
            ("2 * -3", -6.0),
            ("+-+2", -2.0),
            (".5 + 1.", 1.5),
            ("1e-3 * 1E3", 1.0),
            ("2 * pi - tau", 0.0),
            ("e", std::f64::consts::E),
        ] {
            assert_eq!(value(source, 0.0), expected, "{source}");
        }
    }

    #[test]
    fn functions_compute() {
        for (source, expected) in [
            ("pow(2, 10)", 1024.0),
            ("min(3, 1, 2)", 1.0),
            ("max(3, 1, 2)", 3.0),
            ("clamp(5, 0, 1)", 1.0),
            ("step(0.5, t)", 1.0),
            ("smoothstep(0, 1, t)", 0.5),
            ("mix(10, 20, t)", 15.0),
            ("mod(-1, 3)", 2.0),
            ("abs(-t) + floor(1.7) + ceil(0.2) + round(2.5)", 5.5),
            (
                "exp(0) + ln(1) + sqrt(4) + sin(0) + cos(0) + tan(0) + tanh(0)",
                4.0,
            ),
        ] {
            assert_eq!(value(source, 0.5), expected, "{source}");
        }
    }

    #[test]
    fn an_expression_of_t_changes() {
        assert_eq!(value("0.05 * (1 - 0.9 * t^4)", 1.0), 0.05 * (1.0 - 0.9));
        assert!(Expression::parse("1 + min(2, t)").unwrap().changes());
        assert!(!Expression::parse("1 + min(2, 3)").unwrap().changes());
    }

    #[test]
    fn errors_say_what_is_wrong_and_where() {
        assert_eq!(
            error("1 +"),
            "it ends where a number, `t` or `(` should follow"
        );
        assert_eq!(error("(1"), "a `)` is missing at its end");
        assert_eq!(error("2 t"), "`t` at character 3 is one too many");
        assert_eq!(
            error("sinn(t)"),
            "there is no function `sinn`; did you mean `sin`?"
        );
        assert_eq!(error("pow(t)"), "`pow` takes 2 arguments, not 1");
        assert_eq!(error("min()"), "`min` takes 2 arguments or more, not 0");
        assert_eq!(error("sin"), "`sin` is a function: write `sin(...)`");
        assert_eq!(
            error("1 + $"),
            "`$` stands at character 5, where a number, `t` or `(` should"
        );
        assert!(error("step").contains("function"));
        assert!(error("x + t").contains("`x` is unknown: the variable is `t`"));
    }

    #[test]
    fn depth_and_length_are_bounded() {
        assert_eq!(error(&"(".repeat(900)), "it is nested too deeply");
        assert_eq!(error(&"-".repeat(900)), "it is nested too deeply");
        assert_eq!(error(&"2^".repeat(400)), "it is nested too deeply");
        assert_eq!(error(&"1+".repeat(400)), "it is too long");
        assert!(error(&"1".repeat(2000)).contains("longer than"));
    }
}
