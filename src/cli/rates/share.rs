//! `--share 'put manifest 201 new image by tag=0.7'`: the share of one kind among the requests of its method, handler and
//! code.

use crate::{proto::v1::KindShare, rates::request::is_code};

const WANTED: &str = "want METHOD HANDLER [CODE] KIND=SHARE, like 'put manifest 201 new image by tag=0.7'";

/// The share in `text`. A handler of several words needs a code after it, which is where it ends.
pub fn parse(text: &str) -> Result<KindShare, String> {
    let (labels, share) = text.rsplit_once('=').ok_or(WANTED)?;
    let number = share.trim().parse::<f64>().map_err(|_| format!("{:?} is not a number; {WANTED}", share.trim()))?;
    if !(0.0..=1.0).contains(&number) {
        return Err(format!("a share is a number from 0 to 1, not {number}"));
    }
    let words: Vec<&str> = labels.split_whitespace().collect();
    let (method, rest) = words.split_first().ok_or(WANTED)?;
    let (handler, code, kind) = match rest.iter().position(|word| is_code(word)) {
        Some(code) => (&rest[..code], rest[code], &rest[code + 1..]),
        None if rest.is_empty() => return Err(WANTED.to_owned()),
        None => (&rest[..1], "", &rest[1..]),
    };
    if handler.is_empty() || kind.is_empty() {
        return Err(WANTED.to_owned());
    }
    Ok(KindShare {
        kind: kind.join(" "),
        share: number,
        handler: handler.join(" "),
        method: (*method).to_owned(),
        code: code.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> (String, String, String, String, f64) {
        let KindShare { kind, share, handler, method, code } = parse(text).unwrap();
        (method, handler, code, kind, share)
    }

    #[test]
    fn method_handler_code_and_kind_stand_before_the_share() {
        for (text, method, handler, code, kind, share) in [
            ("put manifest 201 new image by tag=0.7", "put", "manifest", "201", "new image by tag", 0.7),
            ("PUT Blob Upload 201 new blob = 1", "PUT", "Blob Upload", "201", "new blob", 1.0),
            ("delete manifest tag=0", "delete", "manifest", "", "tag", 0.0),
            (
                "put /v2/{name}/manifests/{reference} 201 new index by tag=.25",
                "put",
                "/v2/{name}/manifests/{reference}",
                "201",
                "new index by tag",
                0.25,
            ),
        ] {
            assert_eq!(parsed(text), (method.into(), handler.into(), code.into(), kind.into(), share));
        }
    }

    #[test]
    fn anything_else_is_refused_with_an_example() {
        for text in
            ["", "=0.5", "put=0.5", "put manifest=0.5", "put manifest 201=0.5", "put 201 kind=0.5", "put manifest x"]
        {
            assert_eq!(parse(text), Err(WANTED.to_owned()), "{text}");
        }
        assert_eq!(parse("put manifest x=most"), Err(format!("\"most\" is not a number; {WANTED}")));
        for share in ["1.1", "-0.1", "NaN", "inf"] {
            assert!(
                parse(&format!("put manifest x={share}")).unwrap_err().starts_with("a share is a number"),
                "{share}"
            );
        }
    }
}
