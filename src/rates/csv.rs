//! Request rates from a CSV file: the columns `handler` (or `route`), `method`, `requests_per_second` and, where it is
//! known, `code`, in any order. Lines that begin with # are comments. Whatever cannot be a rate is refused by its line.

use csv::{Position, ReaderBuilder, StringRecord, Trim};

use super::{
    Invalid,
    request::{Given, RequestRate, Seen},
};

/// Why a file is none of request rates.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A column is missing, or there twice.
    #[error(
        "line {line}: {problem}; want the columns handler (or route), method, requests_per_second and, optionally, code"
    )]
    Header {
        /// Line of the header.
        line: usize,
        /// What is wrong.
        problem: String,
    },
    /// A value that cannot be.
    #[error("line {line}: {error}")]
    Value {
        /// Its line.
        line: usize,
        /// What is wrong, by column.
        error: Invalid,
    },
    /// A row of another number of fields than the header has.
    #[error("line {line}: has {fields} fields, the header has {wanted}")]
    Fields {
        /// Its line.
        line: usize,
        /// How many it has.
        fields: usize,
        /// How many it should have.
        wanted: usize,
    },
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

/// The rates in the text of a file.
pub fn read(file: &str) -> Result<Vec<RequestRate>, Error> {
    // Rows of another length are told by their line below.
    let mut reader =
        ReaderBuilder::new().comment(Some(b'#')).trim(Trim::All).flexible(true).from_reader(file.as_bytes());
    let header = reader.headers().cloned().unwrap_or_default();
    let columns = Columns::find(&header, line(file, header.position()))?;
    let mut rates = Vec::new();
    let mut seen = Seen::default();
    for row in reader.records() {
        // Of text in memory nothing else can go wrong.
        let Ok(row) = row else { continue };
        let line = line(file, row.position());
        if row.len() != header.len() {
            return Err(Error::Fields { line, fields: row.len(), wanted: header.len() });
        }
        let rate = columns.rate(&row, line)?;
        seen.add(&rate, line).map_err(|given| Error::Value { line, error: twice(&rate, &given) })?;
        rates.push(rate);
    }
    if rates.is_empty() { Err(Error::Empty) } else { Ok(rates) }
}

// === impl Columns ===

impl Columns {
    fn find(header: &StringRecord, line: usize) -> Result<Self, Error> {
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

    fn rate(&self, row: &StringRecord, line: usize) -> Result<RequestRate, Error> {
        let text = |column: usize| &row[column];
        let (per_second, code) = (text(self.per_second), self.code.map(text).unwrap_or_default());
        let number = per_second.parse::<f64>();
        let number = number.map_err(|_| Invalid::new("requests_per_second", format!("{per_second:?} is not a number")));
        let rate = number.and_then(|number| RequestRate::new(text(self.handler), text(self.method), code, number, 0.0));
        rate.map_err(|error| Error::Value { line, error })
    }
}

/// The line of a row, whose position is where the reader was before it: comments and empty lines may follow there.
fn line(file: &str, position: Option<&Position>) -> usize {
    let Some(position) = position else { return 1 };
    let rest = usize::try_from(position.byte()).ok().and_then(|byte| file.get(byte..)).unwrap_or_default();
    let skipped = rest.lines().take_while(|line| line.is_empty() || line.starts_with('#')).count();
    usize::try_from(position.line()).unwrap_or(usize::MAX).saturating_add(skipped)
}

/// The error for a rate that an earlier line gave.
fn twice(rate: &RequestRate, given: &Given) -> Invalid {
    let RequestRate { handler, method, .. } = rate;
    let codes = if given.code.is_empty() { "every code".to_owned() } else { format!("code {}", given.code) };
    Invalid::new("handler", format!("{method} {handler} is on line {} already, for {codes}", given.place))
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
        assert_eq!(row("# two fields\n\nblob,GET"), "line 5: has 2 fields, the header has 4");
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
