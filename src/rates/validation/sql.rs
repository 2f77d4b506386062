//! SQL as its words: without comments, literals and the case of its letters. As much as it takes to tell statements
//! apart, and no more: it never fails, whatever the text.

/// A piece of SQL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Token {
    /// A key word, a name or a number, in lower case; of a quoted name, what stands in its quotes.
    Word(String),
    /// A literal.
    Literal,
    /// Any other character.
    Symbol(char),
}

/// The pieces of a text, in their order.
pub struct Tokens<'a> {
    rest: &'a str,
}

// === impl Tokens ===

impl<'a> Tokens<'a> {
    /// The pieces of `text`.
    pub fn new(text: &'a str) -> Self {
        Self { rest: text }
    }

    /// Skips blanks and comments, which nest.
    fn skip(&mut self) {
        loop {
            self.rest = self.rest.trim_start();
            if self.rest.starts_with("--") {
                self.rest = self.rest.split_once('\n').map_or("", |(_, rest)| rest);
            } else if self.rest.starts_with("/*") {
                self.rest = after_comment(self.rest);
            } else {
                return;
            }
        }
    }

    /// What stands before `closing`, which is skipped too; all of it when nothing closes it.
    fn until(&mut self, opening: usize, closing: &str) -> &'a str {
        let inside = &self.rest[opening..];
        let (inside, rest) = inside.split_once(closing).unwrap_or((inside, ""));
        self.rest = rest;
        inside
    }
}

impl Iterator for Tokens<'_> {
    type Item = Token;

    fn next(&mut self) -> Option<Token> {
        self.skip();
        let first = self.rest.chars().next()?;
        let is_word = |c: char| c.is_alphanumeric() || c == '_' || c == '$';
        Some(match first {
            '\'' => {
                self.until(1, "'");
                Token::Literal
            }
            '"' => Token::Word(self.until(1, "\"").to_lowercase()),
            '$' if dollar_quote(self.rest).is_some() => {
                let quote = dollar_quote(self.rest).unwrap_or_default();
                self.until(quote.len(), quote);
                Token::Literal
            }
            c if is_word(c) => {
                let end = self.rest.find(|c| !is_word(c)).unwrap_or(self.rest.len());
                let (word, rest) = self.rest.split_at(end);
                self.rest = rest;
                Token::Word(word.to_lowercase())
            }
            c => {
                self.rest = &self.rest[c.len_utf8()..];
                Token::Symbol(c)
            }
        })
    }
}

/// The text with a blank between any two pieces, and nothing in it that would not matter.
pub fn folded(text: &str) -> String {
    let mut folded = String::with_capacity(text.len());
    for token in Tokens::new(text) {
        if !folded.is_empty() {
            folded.push(' ');
        }
        match token {
            Token::Word(word) => folded.push_str(&word),
            Token::Literal => folded.push('\''),
            Token::Symbol(symbol) => folded.push(symbol),
        }
    }
    folded
}

fn after_comment(text: &str) -> &str {
    let (mut depth, mut rest) = (0_usize, text);
    loop {
        let Some(at) = rest.find(['/', '*']) else { return "" };
        rest = &rest[at..];
        if rest.starts_with("/*") {
            depth += 1;
            rest = &rest[2..];
        } else if rest.starts_with("*/") {
            depth -= 1;
            rest = &rest[2..];
            if depth == 0 {
                return rest;
            }
        } else {
            rest = &rest[1..];
        }
    }
}

/// `$$` or `$tag$`, when the text begins with it; `$1` is a parameter.
fn dollar_quote(text: &str) -> Option<&str> {
    let tag = text[1..].find('$')?;
    let name = &text[1..=tag];
    let is_tag = name.chars().all(|c| c.is_alphanumeric() || c == '_') && !name.starts_with(|c: char| c.is_numeric());
    is_tag.then(|| &text[..tag + 2])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_matter_is_left_out() {
        for (text, want) in [
            ("SELECT\n\tCOUNT(*) FROM \"Public\".tags -- all\n", "select count ( * ) from public . tags"),
            ("/* a /* b */ c */ SELECT $1, 'it''s', $$;$$", "select $1 , ' ' , '"),
            ("SELECT $a$ select $a$ x", "select ' x"),
            ("SELECT é", "select é"),
            ("", ""),
            ("/* open", ""),
            ("SELECT 'open", "select '"),
        ] {
            assert_eq!(folded(text), want, "{text}");
        }
    }

    #[test]
    fn no_text_is_too_odd() {
        for text in ["$", "$1$", "/", "*/ x", "/*/", "\"", "--", "a$b$c", "'\u{0}'", "/**/é/*é*/"] {
            folded(text);
        }
    }
}
