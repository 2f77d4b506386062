//! What a statement does, by its text. One statement is of one verb, as pg_stat_statements counts it as one call.

use super::sql::{Token, Tokens};
use crate::rates::operation::Operation;

/// What a statement does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// One of the four.
    Operation(Operation),
    /// Begins or ends a transaction or a part of one.
    Transaction,
    /// Anything else: SET, MERGE, COPY, DDL, or what is no statement.
    Other,
}

// === impl Verb ===

impl Verb {
    /// The verb of a statement's text, behind comments and parentheses. A WITH is what its main statement is, unless
    /// that only reads and a part of it writes: then it is the first that writes.
    pub fn of(text: &str) -> Self {
        let mut tokens = Tokens::new(text).skip_while(|token| *token == Token::Symbol('('));
        let Some(Token::Word(first)) = tokens.next() else { return Self::Other };
        match &*first {
            "with" => of_with(tokens),
            "begin" | "start" | "commit" | "end" | "rollback" | "abort" | "savepoint" | "release" => Self::Transaction,
            word => operation(word).map_or(Self::Other, Self::Operation),
        }
    }
}

fn of_with(tokens: impl Iterator<Item = Token>) -> Verb {
    // A name of a part may be any word, so those that follow WITH and a comma are none of ours.
    let (mut depth, mut is_name) = (0_i32, true);
    let mut writes = None;
    // The last two pieces: a part begins behind `AS (`, also `AS NOT MATERIALIZED (`.
    let mut before = [Token::Literal, Token::Literal];
    for token in tokens {
        match &token {
            Token::Symbol('(') => depth += 1,
            Token::Symbol(')') => depth -= 1,
            Token::Symbol(',') if depth == 0 => is_name = true,
            Token::Word(word) if word == "recursive" && depth == 0 => {}
            Token::Word(_) if depth == 0 && is_name => is_name = false,
            Token::Word(word) if depth == 0 => {
                if let Some(main) = operation(word) {
                    let main = if main == Operation::Select { writes.unwrap_or(main) } else { main };
                    return Verb::Operation(main);
                }
                if word == "merge" {
                    return Verb::Other;
                }
            }
            Token::Word(word) if depth == 1 && writes.is_none() && is_start(&before) => {
                writes = operation(word).filter(|operation| *operation != Operation::Select);
            }
            _ => {}
        }
        let [_, last] = before;
        before = [last, token];
    }
    Verb::Other
}

/// Whether a part of a WITH begins behind these two.
fn is_start([first, second]: &[Token; 2]) -> bool {
    let is_word = |token: &Token| matches!(token, Token::Word(word) if word == "as" || word == "materialized");
    *second == Token::Symbol('(') && is_word(first)
}

fn operation(word: &str) -> Option<Operation> {
    match word {
        "select" | "values" | "table" => Some(Operation::Select),
        "insert" => Some(Operation::Insert),
        "update" => Some(Operation::Update),
        "delete" => Some(Operation::Delete),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_parentheses_and_case_hide_no_verb() {
        for (text, operation) in [
            ("SELECT 1", Operation::Select),
            ("-- why\n/* who /* nested */ */ select 1", Operation::Select),
            ("((SELECT 1) UNION SELECT 2)", Operation::Select),
            ("VALUES ($1)", Operation::Select),
            ("Insert INTO t VALUES ($1) ON CONFLICT DO UPDATE SET a = $2", Operation::Insert),
            ("UPDATE t SET a = $1", Operation::Update),
            ("DELETE FROM t", Operation::Delete),
        ] {
            assert_eq!(Verb::of(text), Verb::Operation(operation), "{text}");
        }
    }

    #[test]
    fn a_with_is_its_main_statement_or_the_part_that_writes() {
        for (text, operation) in [
            ("WITH a AS (SELECT 1) SELECT * FROM a", Operation::Select),
            ("WITH RECURSIVE a (n) AS (SELECT 1 UNION SELECT delete FROM a) SELECT n FROM a", Operation::Select),
            ("with a as (select 1) insert into t select * from a", Operation::Insert),
            ("WITH gone AS (DELETE FROM t RETURNING 1), b AS (SELECT 1) SELECT * FROM gone, b", Operation::Delete),
            ("WITH a AS NOT MATERIALIZED (UPDATE t SET a = 1 RETURNING *) TABLE a", Operation::Update),
            ("WITH a AS (DELETE FROM t RETURNING *) INSERT INTO old SELECT * FROM a", Operation::Insert),
            ("WITH insert AS (SELECT 1), delete AS (SELECT 2) SELECT 3", Operation::Select),
            ("WITH a AS (SELECT 'DELETE', (update) FROM t) SELECT 1", Operation::Select),
        ] {
            assert_eq!(Verb::of(text), Verb::Operation(operation), "{text}");
        }
        assert_eq!(Verb::of("WITH a AS (SELECT 1) MERGE INTO t USING a ON true WHEN MATCHED THEN DELETE"), Verb::Other);
        assert_eq!(Verb::of("WITH a AS (SELECT"), Verb::Other, "a text that was cut");
    }

    #[test]
    fn transactions_are_told_from_the_rest() {
        for text in ["begin", "BEGIN ISOLATION LEVEL SERIALIZABLE", "commit", "rollback", "START TRANSACTION", "END"] {
            assert_eq!(Verb::of(text), Verb::Transaction, "{text}");
        }
        for text in ["SET a = 1", "COPY t FROM STDIN", "EXISTS (SELECT 1)", "MERGE INTO t", "", "-- x", "$1", "()"] {
            assert_eq!(Verb::of(text), Verb::Other, "{text}");
        }
    }
}
