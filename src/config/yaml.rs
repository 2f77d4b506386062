//! A YAML file as a tree of texts with their lines. Scalars stay as they were written (`007` is no 7), so a file and an
//! environment variable mean the same by the same text, and an error never quotes a value: it may be a secret.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, SeqAccess, Visitor},
};
use serde_saphyr::{DuplicateKeyPolicy, NonFiniteFloatPolicy, Spanned};

/// A value with its place.
#[derive(PartialEq)]
pub struct Node {
    /// Counts from 1.
    pub line: u64,
    /// What stands there.
    pub value: Value,
}

/// What a file can hold.
#[derive(PartialEq)]
pub enum Value {
    /// Nothing, `~` or `null`.
    Null,
    /// A text, a number or a truth value, as written.
    Scalar(String),
    /// A list.
    List(Vec<Node>),
    /// Keys with their lines and values, in the order of the file.
    Map(Vec<(String, u64, Node)>),
}

/// Why a text is no YAML that we take.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("line {line}: {message}")]
pub struct Error {
    /// Counts from 1; 0 when it is not known.
    pub line: u64,
    /// What is wrong, without any value.
    pub message: String,
}

/// What the library gives; numbers and truth values are read again from the text at their span.
enum Raw {
    Null,
    Plain,
    Text(String),
    List(Vec<Spanned<Raw>>),
    Map(Vec<(Spanned<String>, Spanned<Raw>)>),
}

struct RawVisitor;

// === impl Raw ===

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

// === impl RawVisitor ===

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Raw, E> {
        Ok(Raw::Plain)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Raw, E> {
        Ok(Raw::Plain)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Raw, E> {
        Ok(Raw::Plain)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Raw, E> {
        Ok(Raw::Plain)
    }

    fn visit_str<E>(self, text: &str) -> Result<Raw, E> {
        Ok(Raw::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Raw, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element()? {
            items.push(item);
        }
        Ok(Raw::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Raw, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = access.next_entry()? {
            entries.push(entry);
        }
        Ok(Raw::Map(entries))
    }
}

/// Reads one document; a key that is given twice is an error.
pub fn parse(text: &str) -> Result<Node, Error> {
    let options = serde_saphyr::options! {
        duplicate_keys: DuplicateKeyPolicy::Error,
        strict_booleans: true,
        non_finite_float_policy: NonFiniteFloatPolicy::PassThrough,
        reject_unsupported_tags: true,
        // A snippet would print the line, and a line may hold a password.
        with_snippet: false,
    };
    let root = serde_saphyr::from_str_with_options(text, options).map_err(|error| described(&error))?;
    Ok(node(text, root))
}

/// A text as YAML takes it back: plain where that is safe, else as JSON writes it.
pub fn scalar(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_./-".contains(c) || c == ':';
    let is_plain = text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '/') && text.chars().all(plain);
    if is_plain && !text.ends_with(':') { text.to_owned() } else { serde_json::Value::from(text).to_string() }
}

/// A tree on one line, as YAML takes it back.
pub fn flow(node: &Node) -> String {
    match &node.value {
        Value::Null => "null".to_owned(),
        Value::Scalar(text) => scalar(text),
        Value::List(items) => format!("[{}]", items.iter().map(flow).collect::<Vec<_>>().join(", ")),
        Value::Map(entries) => {
            let entries: Vec<_> =
                entries.iter().map(|(key, _, node)| format!("{}: {}", scalar(key), flow(node))).collect();
            format!("{{{}}}", entries.join(", "))
        }
    }
}

fn node(text: &str, Spanned { value, referenced, defined }: Spanned<Raw>) -> Node {
    let value = match value {
        Raw::Null => Value::Null,
        Raw::Plain => Value::Scalar(written(text, defined.span()).to_owned()),
        Raw::Text(text) => Value::Scalar(text),
        Raw::List(items) => Value::List(items.into_iter().map(|item| node(text, item)).collect()),
        Raw::Map(entries) => Value::Map(
            entries.into_iter().map(|(key, value)| (key.value, key.referenced.line(), node(text, value))).collect(),
        ),
    };
    Node { line: referenced.line(), value }
}

fn written(text: &str, span: serde_saphyr::Span) -> &str {
    let place = span.byte_offset().zip(span.byte_len()).and_then(|(offset, len)| {
        let offset = usize::try_from(offset).ok()?;
        text.get(offset..offset + usize::try_from(len).ok()?)
    });
    place.expect("a scalar that was parsed from a text lies within it").trim()
}

fn described(error: &serde_saphyr::Error) -> Error {
    let line = error.location().map_or(0, |location| location.line());
    let message = match error.without_snippet() {
        serde_saphyr::Error::DuplicateMappingKey { key: Some(key), .. } => format!("the key {key} is given twice"),
        serde_saphyr::Error::UnsupportedTag { .. } => "a value that begins with ! needs quotes".to_owned(),
        serde_saphyr::Error::MultipleDocuments { .. } => "a second document begins; one file, one document".to_owned(),
        other => {
            let text = other.to_string();
            text.split(" at line ").next().unwrap_or(&text).to_owned()
        }
    };
    Error { line, message }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flat(node: &Node) -> String {
        match &node.value {
            Value::Null => "null".to_owned(),
            Value::Scalar(text) => format!("{text:?}@{}", node.line),
            Value::List(items) => format!("[{}]", items.iter().map(flat).collect::<Vec<_>>().join(" ")),
            Value::Map(entries) => {
                let entries: Vec<_> =
                    entries.iter().map(|(key, line, node)| format!("{key}@{line}={}", flat(node))).collect();
                format!("{{{}}}", entries.join(" "))
            }
        }
    }

    #[test]
    fn scalars_stay_as_written() {
        let text = "a: 007\nb: 1e5 # c\nc: yes\nd: true\ne: \"5\"\nf: [1, .inf]\ng:\né: {x: 0x10}\n";
        let tree = parse(text).ok().map(|node| flat(&node));
        let want = r#"{a@1="007"@1 b@2="1e5"@2 c@3="yes"@3 d@4="true"@4 e@5="5"@5 f@6=["1"@6 ".inf"@6] g@7=null é@8={x@8="0x10"@8}}"#;
        assert_eq!(tree.as_deref(), Some(want));
    }

    #[test]
    fn a_tree_on_one_line_reads_as_the_same() {
        let text = "a:\n- {select: 9+4*L, code: 007, route: '/v2/{name}'}\n- {}\nb: ~\nc: 'a: b # c'\n";
        let line = flow(&parse(text).ok().unwrap());
        assert_eq!(line, r#"{a: [{select: "9+4*L", code: 007, route: "/v2/{name}"}, {}], b: null, c: "a: b # c"}"#);
        assert_eq!(flow(&parse(&line).ok().unwrap()), line);
    }

    #[test]
    fn an_empty_file_holds_nothing() {
        for text in ["", "# a comment\n", "---\n"] {
            assert!(parse(text).is_ok_and(|node| node.value == Value::Null), "{text:?}");
        }
    }

    #[test]
    fn a_key_given_twice_is_an_error_with_its_line() {
        let error = parse("a: 1\nb: {c: 1}\na: 2\n").err();
        assert_eq!(error, Some(Error { line: 3, message: "the key a is given twice".to_owned() }));
    }

    #[test]
    fn no_error_quotes_a_value() {
        for bad in ["*", "%", "@", "`", "!", "{", "[", "\"", "|", ">", "!!int ", "!!binary ", "a: ", "'x' "] {
            let error = parse(&format!("password: {bad}hunter2\n")).err();
            let error = error.unwrap_or_else(|| panic!("{bad} was taken"));
            assert!(!error.message.contains("hunter2"), "{error}");
        }
    }
}
