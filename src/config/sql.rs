//! What can be told of a user's SQL and table names without a database.

/// Why a text is no statement of ours.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Error {
    /// Blank, or only comments.
    #[error("is empty; give one SELECT that returns one integer")]
    Empty,
    /// Text after a semicolon.
    #[error("holds more than one statement; give one SELECT that returns one integer")]
    Several,
    /// Not a name.
    #[error("{0:?} is not a table name; want name or schema.name of letters, digits, _ and $")]
    Table(String),
}

/// The one statement of `text`, without its closing semicolon.
pub fn statement(text: &str) -> Result<&str, Error> {
    let end = next(text, |c| c == ';').unwrap_or(text.len());
    let (statement, rest) = text.split_at(end);
    if next(statement, |c| !c.is_whitespace()).is_none() {
        return Err(Error::Empty);
    }
    if next(rest, |c| !c.is_whitespace() && c != ';').is_some() {
        return Err(Error::Several);
    }
    Ok(statement.trim())
}

/// A table, with its schema or without; a name that would need quotes is refused.
pub fn table(text: &str) -> Result<&str, Error> {
    let plain = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '$')
    };
    let valid = match text.split_once('.') {
        Some((schema, name)) => plain(schema) && plain(name),
        None => plain(text),
    };
    if valid { Ok(text) } else { Err(Error::Table(text.to_owned())) }
}

/// Where the first character that `wanted` takes stands outside of comments; inside of quotes none counts but the
/// opening quote.
fn next(text: &str, wanted: impl Fn(char) -> bool) -> Option<usize> {
    let mut at = 0;
    while let Some(c) = text[at..].chars().next() {
        let rest = &text[at..];
        let comment = if rest.starts_with("--") {
            Some("\n")
        } else if rest.starts_with("/*") {
            Some("*/")
        } else {
            None
        };
        if comment.is_none() && wanted(c) {
            return Some(at);
        }
        let (opening, closing) = match comment {
            Some(closing) => (2, closing),
            None => quote(rest).unwrap_or((c.len_utf8(), "")),
        };
        let inside = &rest[opening..];
        at += opening + inside.find(closing).map_or(inside.len(), |end| end + closing.len());
    }
    None
}

/// The length of the opening quote that `text` begins with, and the closing one.
fn quote(text: &str) -> Option<(usize, &str)> {
    match text.chars().next()? {
        '\'' | '"' => Some((1, &text[..1])),
        '$' => {
            let tag = 2 + text[1..].find('$')?;
            let plain = text[1..tag - 1].chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
            plain.then(|| (tag, &text[..tag]))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_closing_semicolon_goes() {
        for (text, want) in [
            ("SELECT 1", "SELECT 1"),
            (" SELECT 1 ; ;\n-- done; really\n", "SELECT 1"),
            ("SELECT ';', \";\" -- ; \n", "SELECT ';', \";\" -- ;"),
            ("SELECT $a$;$$;$a$ /* ; */", "SELECT $a$;$$;$a$ /* ; */"),
            ("SELECT 'it''s;'", "SELECT 'it''s;'"),
            ("SELECT 1 -- é;", "SELECT 1 -- é;"),
        ] {
            assert_eq!(statement(text), Ok(want), "{text}");
        }
    }

    #[test]
    fn no_statement_and_two_are_refused() {
        for text in ["", " \n", ";", "-- SELECT 1", "/* SELECT 1 */;"] {
            assert_eq!(statement(text), Err(Error::Empty), "{text}");
        }
        for text in ["SELECT 1; SELECT 2", "SELECT 1;DROP TABLE tags;", "SELECT 'a';'b'", "SELECT $1; SELECT $2"] {
            assert_eq!(statement(text), Err(Error::Several), "{text}");
        }
    }

    #[test]
    fn a_table_needs_no_quotes() {
        for good in ["tags", "public.tags", "_t$1", "partitions.tags_p_0"] {
            assert_eq!(table(good), Ok(good));
        }
        for bad in ["", "a.b.c", "a b", "1a", "a;b", "\"a\"", ".a", "a.", "é", "count(*)"] {
            assert!(table(bad).is_err(), "{bad}");
        }
    }
}
