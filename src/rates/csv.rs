//! Request rates from a CSV file: the columns `handler` (or `route`), `method`, `requests_per_second` and, where it is
//! known, `code`, in any order. Lines that begin with # are comments. Whatever cannot be a rate is refused by its line.

use std::collections::HashMap;

use csv::{Position, ReaderBuilder, StringRecord, Trim};

use super::{handler::Pair, request::RequestRate};

/// Why a file is none of request rates.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A column is missing, or there twice.
    #[error(
        "line {line}: {problem}; want the columns handler (or route), method, requests_per_second and, optionally, code"
    )]
    Header {
        /// Line of the header.
        line: u64,
        /// What is wrong.
        problem: String,
    },
    /// A value that cannot be.
    #[error("line {line}: {column}: {problem}")]
    Value {
        /// Its line.
        line: u64,
        /// Its column.
        column: &'static str,
        /// What is wrong.
        problem: String,
    },
    /// No CSV, or none that can be read.
    #[error(transparent)]
    Csv(#[from] csv::Error),
    /// Nothing but a header.
    #[error("there is no rate in it")]
    Empty,
}

/// Where the columns are.
struct Columns {
    handler: usize,
    method: usize,
    per_second: usize,
    code: Option<usize>,
}

/// Where each pair was given: for each code of it, the line.
type Lines = HashMap<Pair, Vec<(String, u64)>>;

/// The rates in the text of a file.
pub fn read(file: &str) -> Result<Vec<RequestRate>, Error> {
    let mut reader = ReaderBuilder::new().comment(Some(b'#')).trim(Trim::All).from_reader(file.as_bytes());
    let header = reader.headers()?;
    let columns = Columns::find(header, line(file, header.position()))?;
    let mut rates = Vec::new();
    let mut lines = Lines::new();
    for row in reader.records() {
        let row = row?;
        let line = line(file, row.position());
        let rate = columns.rate(&row, line)?;
        note(&mut lines, &rate, line)?;
        rates.push(rate);
    }
    if rates.is_empty() { Err(Error::Empty) } else { Ok(rates) }
}

// === impl Columns ===

impl Columns {
    fn find(header: &StringRecord, line: u64) -> Result<Self, Error> {
        let one = |names: &[&str]| {
            let named = |name: &str| names.iter().any(|wanted| name.eq_ignore_ascii_case(wanted));
            let mut found = header.iter().enumerate().filter(|(_, name)| named(name)).map(|(index, _)| index);
            match (found.next(), found.next()) {
                (index, None) => Ok(index),
                (_, Some(_)) => Err(Error::Header { line, problem: format!("column {} is there twice", names[0]) }),
            }
        };
        let wanted = |names: &[&str]| {
            let missing = || Error::Header { line, problem: format!("column {} is missing", names[0]) };
            one(names)?.ok_or_else(missing)
        };
        Ok(Self {
            handler: wanted(&["handler", "route"])?,
            method: wanted(&["method"])?,
            per_second: wanted(&["requests_per_second"])?,
            code: one(&["code"])?,
        })
    }

    fn rate(&self, row: &StringRecord, line: u64) -> Result<RequestRate, Error> {
        let fail = |column, problem: String| Err(Error::Value { line, column, problem });
        let (handler, method, per_second) = (&row[self.handler], &row[self.method], &row[self.per_second]);
        let code = self.code.map(|code| &row[code]).unwrap_or_default();
        for (column, text) in [("handler", handler), ("method", method)] {
            if text.is_empty() {
                return fail(column, "is empty".to_owned());
            }
        }
        if !code.is_empty() && !is_code(code) {
            return fail("code", format!("{code:?} is not a response code of three digits"));
        }
        match per_second.parse::<f64>() {
            Ok(number) if number.is_finite() && number >= 0.0 => Ok(RequestRate {
                handler: handler.to_owned(),
                method: method.to_owned(),
                code: code.to_owned(),
                per_second: number,
                peak_per_second: None,
            }),
            Ok(number) => fail("requests_per_second", format!("{number} is not a number of 0 or more")),
            Err(_) => fail("requests_per_second", format!("{per_second:?} is not a number")),
        }
    }
}

/// Whether `text` is a response code.
pub fn is_code(text: &str) -> bool {
    text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// The line of a row, whose position is where the reader was before it: comments and empty lines may follow there.
fn line(file: &str, position: Option<&Position>) -> u64 {
    let Some(position) = position else { return 1 };
    let rest = usize::try_from(position.byte()).ok().and_then(|byte| file.get(byte..)).unwrap_or_default();
    let skipped = rest.lines().take_while(|line| line.is_empty() || line.starts_with('#')).count();
    position.line() + skipped as u64
}

/// Refuses a pair that an earlier line gave, for the same code or for all of them.
fn note(lines: &mut Lines, rate: &RequestRate, line: u64) -> Result<(), Error> {
    let earlier = lines.entry(Pair::new(&rate.handler, &rate.method)).or_default();
    let same = earlier.iter().find(|(code, _)| *code == rate.code || code.is_empty() || rate.code.is_empty());
    if let Some((code, first)) = same {
        let RequestRate { handler, method, .. } = rate;
        let for_code = if code.is_empty() { "every code".to_owned() } else { format!("code {code}") };
        let problem = format!("{method} {handler} is on line {first} already, for {for_code}");
        return Err(Error::Value { line, column: "handler", problem });
    }
    earlier.push((rate.code.clone(), line));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(file: &str) -> String {
        read(file).unwrap_err().to_string()
    }

    #[test]
    fn columns_stand_in_any_order_and_comments_are_skipped() {
        let file =
            "# made by hand\nmethod,requests_per_second, Route ,code\nget,1.5,/v2/,200\n# one more\nget,0,/v2/,404\n";
        let rates = read(file).unwrap();
        assert_eq!(rates.len(), 2);
        assert_eq!((&*rates[0].handler, &*rates[0].code, rates[0].per_second), ("/v2/", "200", 1.5));
    }

    #[test]
    fn what_is_wrong_is_told_by_line_and_column() {
        let missing = "line 2: column requests_per_second is missing; want the columns handler (or route), method, \
                       requests_per_second and, optionally, code";
        assert_eq!(told("# x\nhandler,method\nblob,GET\n"), missing);
        assert!(
            told("handler,route,method,requests_per_second\n").starts_with("line 1: column handler is there twice")
        );
        let row = |row: &str| told(&format!("handler,method,code,requests_per_second\nblob,GET,404,1\n{row}\n"));
        assert_eq!(row("blob,GET,200,-1"), "line 3: requests_per_second: -1 is not a number of 0 or more");
        assert_eq!(row("blob,GET,200,NaN"), "line 3: requests_per_second: NaN is not a number of 0 or more");
        assert_eq!(row("blob,GET,200,1e999"), "line 3: requests_per_second: inf is not a number of 0 or more");
        assert_eq!(row("blob,GET,200,many"), "line 3: requests_per_second: \"many\" is not a number");
        assert_eq!(row("blob,GET,2xx,1"), "line 3: code: \"2xx\" is not a response code of three digits");
        assert_eq!(row("blob,,200,1"), "line 3: method: is empty");
        assert!(row("blob,GET").contains("line: 3"), "{}", row("blob,GET"));
        assert!(row("# why\n\n# so\nblob,,200,1").starts_with("line 6: "));
    }

    #[test]
    fn a_pair_stands_there_once() {
        let twice = |first: &str, second: &str| {
            told(&format!("handler,method,code,requests_per_second\n{first},1\n{second},1\n"))
        };
        assert_eq!(
            twice("Blob,GET,200", "/v2/{name}/blobs/{digest},get,200"),
            "line 3: handler: get /v2/{name}/blobs/{digest} is on line 2 already, for code 200"
        );
        assert!(twice("blob,GET,", "blob,GET,200").ends_with("on line 2 already, for every code"));
    }

    #[test]
    fn a_file_without_a_rate_is_no_estimate_of_zero() {
        assert_eq!(told("handler,method,requests_per_second\n"), "there is no rate in it");
        assert!(told("").starts_with("line 1: column handler is missing"));
    }
}
