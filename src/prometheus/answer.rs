//! What Prometheus answers to an instant query. A number gets past here only out of a vector of finite values that are
//! not negative, each with labels of its own.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, de::IgnoredAny};

use super::error::{Cause, brief};

/// Labels by name.
pub type Labels = BTreeMap<String, String>;

/// A vector.
#[derive(Debug, PartialEq)]
pub struct Answer {
    /// Its elements; finite, not negative, no two with the same labels.
    pub samples: Vec<(Labels, f64)>,
    /// What Prometheus would have the reader know: its warnings, then its infos.
    pub warnings: Vec<String>,
}

/// Everything but the elements, which have another form for each type.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope {
    status: String,
    data: Option<TypeOnly>,
    error_type: Option<String>,
    error: Option<String>,
    #[serde(default)]
    warnings: Vec<String>,
    #[serde(default)]
    infos: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TypeOnly {
    result_type: String,
    #[serde(rename = "result")]
    _result: IgnoredAny,
}

#[derive(Deserialize)]
struct Vectors {
    data: Vector,
}

#[derive(Deserialize)]
struct Vector {
    result: Vec<Element>,
}

#[derive(Deserialize)]
struct Element {
    metric: Labels,
    /// When, and the number as a text, since JSON has no NaN.
    value: (f64, String),
}

// === impl Envelope ===

impl Envelope {
    fn refusal(self) -> Cause {
        let text = |text: Option<String>| brief(text.as_deref().unwrap_or("no reason given"));
        Cause::Api { kind: text(self.error_type), message: text(self.error) }
    }
}

/// Reads the body of an answer that claims success.
pub fn read(body: &[u8]) -> Result<Answer, Cause> {
    let wrong = |error: serde_json::Error| {
        let why = brief(&error.to_string());
        if error.is_data() { Cause::Shape(why) } else { Cause::NotJson(why) }
    };
    let shape = |why: &str| Cause::Shape(brief(why));
    let envelope: Envelope = serde_json::from_slice(body).map_err(wrong)?;
    match envelope.status.as_str() {
        "success" => {}
        "error" => return Err(envelope.refusal()),
        other => return Err(shape(&format!("its status is {other:?}"))),
    }
    let data = envelope.data.ok_or_else(|| shape("it has no data"))?;
    if data.result_type != "vector" {
        return Err(Cause::ResultType(brief(&data.result_type)));
    }
    let Vectors { data: Vector { result } } = serde_json::from_slice(body).map_err(wrong)?;
    let mut seen = BTreeSet::new();
    let mut samples = Vec::with_capacity(result.len());
    for Element { metric, value: (_, text) } in result {
        let value = text.parse().ok().filter(|value: &f64| value.is_finite() && *value >= 0.0);
        let value = value.ok_or_else(|| Cause::Value { labels: brief(&format!("{metric:?}")), value: brief(&text) })?;
        if !seen.insert(metric.clone()) {
            return Err(shape(&format!("it has two values for {metric:?}")));
        }
        samples.push((metric, value));
    }
    let warnings = envelope.warnings.iter().chain(&envelope.infos).map(|text| brief(text)).collect();
    Ok(Answer { samples, warnings })
}

/// What the body of an answer that claims no success says, when it is of Prometheus's own form.
pub fn refusal(body: &[u8]) -> Option<Cause> {
    let envelope: Envelope = serde_json::from_slice(body).ok()?;
    (envelope.status == "error").then(|| envelope.refusal())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(body: &str) -> Result<Answer, String> {
        read(body.as_bytes()).map_err(|cause| cause.to_string())
    }

    fn vector(value: &str) -> String {
        format!(r#"{{"status":"success","data":{{"resultType":"vector","result":[{value}]}}}}"#)
    }

    #[test]
    fn a_vector_is_read_with_its_labels_and_what_prometheus_warns_of() {
        let body = r#"{"status":"success","data":{"resultType":"vector","result":[
            {"metric":{"code":"200"},"value":[1435781451.781,"1.5"]},{"metric":{},"value":[1,"0"]}]},
            "warnings":["w\u0007"],"infos":["i"],"more":{}}"#;
        let labels = Labels::from([("code".to_owned(), "200".to_owned())]);
        let want = Answer {
            samples: vec![(labels, 1.5), (Labels::new(), 0.0)],
            warnings: vec!["w ".to_owned(), "i".to_owned()],
        };
        assert_eq!(of(body), Ok(want));
    }

    #[test]
    fn no_number_comes_out_of_what_is_none() {
        for value in ["NaN", "+Inf", "-Inf", "-1", "-0.001", "1e999", "", "one"] {
            let body = vector(&format!(r#"{{"metric":{{"code":"200"}},"value":[1,"{value}"]}}"#));
            let want = format!("value {value} for {{\"code\": \"200\"}}");
            assert!(of(&body).unwrap_err().contains(&want), "{value}");
        }
    }

    #[test]
    fn each_other_form_is_told_by_what_it_is() {
        let twice = r#"{"metric":{"code":"200"},"value":[1,"1"]}"#;
        for (body, want) in [
            ("<html></html>".to_owned(), "is no JSON: expected value at line 1 column 1"),
            (String::new(), "is no JSON: EOF"),
            ("[1]".to_owned(), "but not a Prometheus's: "),
            ("{}".to_owned(), "but not a Prometheus's: missing field `status`"),
            (r#"{"status":"ok"}"#.to_owned(), "but not a Prometheus's: its status is \"ok\""),
            (r#"{"status":"success"}"#.to_owned(), "but not a Prometheus's: it has no data"),
            (vector(r#"{"metric":{},"value":[1,1]}"#), "but not a Prometheus's: invalid type: integer `1`"),
            (vector(r#"{"metric":{},"histogram":[1,{}]}"#), "but not a Prometheus's: missing field `value`"),
            (vector(&format!("{twice},{twice}")), "but not a Prometheus's: it has two values for {\"code\": \"200\"}"),
            (
                r#"{"status":"success","data":{"resultType":"scalar","result":[1,"1"]}}"#.to_owned(),
                "answers with a scalar where a vector was asked for",
            ),
            (
                r#"{"status":"error","errorType":"bad_data","error":"parse error"}"#.to_owned(),
                "cannot answer: bad_data: parse error",
            ),
        ] {
            let error = of(&body).unwrap_err();
            assert!(error.contains(want), "{body}: {error}");
        }
    }

    #[test]
    fn nothing_that_was_answered_is_repeated_at_length() {
        let long = "x".repeat(1 << 20);
        for body in [
            format!(r#"{{"status":"{long}"}}"#),
            vector(&format!(r#"{{"metric":{{"{long}":""}},"value":[1,"NaN"]}}"#)),
            vector(&format!(r#"{{"metric":{{}},"value":["{long}","1"]}}"#)),
            format!(r#"{{"status":"error","errorType":"{long}","error":"{long}"}}"#),
        ] {
            assert!(of(&body).unwrap_err().len() < 1000);
        }
    }
}
