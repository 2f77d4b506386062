//! `rowcount rates`, by itself and through a server.

use std::{io::Write, process::Stdio};

use serde_json::{Value, json};

use super::{command, lines, output, run};

mod formats;
mod published;
mod refusals;
mod served;

const PUBLISHED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/published-2020.csv");

const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/rates.json");

/// A server that nobody must ask.
const NOBODY: &str = "http://127.0.0.1:1";

/// Stdout of an estimate of the published rates that needs no server.
async fn published(args: &[&str]) -> String {
    let args = [&["rates", "--from", PUBLISHED][..], args].concat();
    let (code, stdout, stderr) = run(NOBODY, &args).await;
    assert_eq!((code, stderr.as_str()), (0, ""), "{args:?}");
    stdout
}

async fn published_json(args: &[&str]) -> Value {
    serde_json::from_str(&published(&[args, &["-o", "json"]].concat()).await).unwrap()
}

/// A file with this content.
fn file(suffix: &str, content: impl AsRef<[u8]>) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::with_suffix(suffix).unwrap();
    file.write_all(content.as_ref()).unwrap();
    file
}

fn near(number: &Value, wanted: f64) {
    let number = number.as_f64().unwrap();
    assert!((number / wanted - 1.0).abs() < 1e-9, "{number} is not {wanted}");
}

#[tokio::test]
async fn a_file_needs_no_server() {
    let stdout = published(&[]).await;
    let told = lines(&stdout);
    assert!(told[0].starts_with("HANDLER "), "{stdout}");
    assert!(told.iter().any(|line| line.starts_with("Total                       303       719 ")), "{stdout}");
    assert!(told.contains(&&*format!("source      {PUBLISHED}")), "{stdout}");
    assert!(told.contains(&"cost model  registry-4.32 (registry-4.32.0-1)"), "{stdout}");
}

#[tokio::test]
async fn stdin_is_a_file_too_and_an_object_is_known_by_its_beginning() {
    for content in [std::fs::read(PUBLISHED).unwrap(), std::fs::read(EXAMPLE).unwrap()] {
        let stdin = file("", &content).reopen().unwrap();
        let mut command = command(NOBODY, &["rates", "--from", "-", "-o", "csv"]);
        command.stdin(Stdio::from(stdin));
        let output = output(command).await;
        assert!(output.status.success(), "{output:?}");
        assert!(output.stdout.starts_with(b"# source: stdin\n"), "{output:?}");
    }
}

#[tokio::test]
async fn the_load_grows_now_and_later_until_it_meets_the_ceiling() {
    let model = ["--model", "published-2020"];
    let args = ["--growth", "2", "--monthly-growth", "0.01", "--horizon", "1", "--horizon", "12", "--ceiling", "1600"];
    let answer = published_json(&[&model[..], &args].concat()).await;
    // 740.0881… SELECT a second, doubled.
    let select = 1_480.176_235_3;
    assert!((answer["totals"][0]["perSecond"].as_f64().unwrap() - select).abs() < 1e-3, "{}", answer["totals"][0]);
    let select = answer["totals"][0]["perSecond"].as_f64().unwrap();
    assert_eq!(answer["projections"][1]["months"], json!(12));
    near(&answer["projections"][0]["totals"][0]["perSecond"], select * 1.01);
    near(&answer["projections"][1]["totals"][0]["perSecond"], select * 1.01_f64.powi(12));
    // 1,523.4 grow to 1,600 in ln(1600 / 1523.4) / ln(1.01) = 4.9 months.
    let met = humantime::parse_rfc3339(answer["ceilingTime"].as_str().unwrap()).unwrap();
    let days = met.duration_since(std::time::SystemTime::now()).unwrap().as_secs() / 86_400;
    assert!((148..=151).contains(&days), "{days}");

    let stdout = published(&[&model[..], &["--ceiling", "3048.1", "--growth", "2"]].concat()).await;
    let told = lines(&stdout);
    assert!(told.contains(&"used now   49.98 % (1,523 operations/s)"), "{stdout}");
    assert!(told.contains(&"head-room  50.02 %"), "{stdout}");
    assert!(told.contains(&"crossed    not without growth"), "{stdout}");
    let stdout = published(&[&model[..], &["--monthly-growth", "0.05"]].concat()).await;
    let months: Vec<&str> = lines(&stdout).into_iter().filter(|line| line.starts_with("          ")).collect();
    assert_eq!(months.iter().map(|line| line.trim()[..2].to_owned()).collect::<Vec<_>>(), ["12", "24", "36"]);
}

#[tokio::test]
async fn what_the_labels_do_not_tell_is_an_option() {
    let select = async |args: &[&str]| published_json(args).await["totals"][0]["perSecond"].as_f64().unwrap();
    let cold = select(&[]).await;
    assert!(select(&["--warm-cache"]).await < cold);
    let all_new = ["--share", "put manifest 201 new image by tag=1"];
    // 1.699… manifests a second, each 9+4*L SELECTs.
    let (ten, twenty) = (select(&all_new).await, select(&[&all_new[..], &["--layers", "20"]].concat()).await);
    assert!((twenty - ten - 40.0 * 1.699_349_459_05).abs() < 1e-9, "{ten} {twenty}");
}

#[tokio::test]
async fn options_stand_above_the_fields_of_a_file() {
    let args = ["rates", "--from", EXAMPLE, "-o", "json", "--layers", "12", "--horizon", "6"];
    let (code, stdout, stderr) = run(NOBODY, &args).await;
    assert_eq!((code, stderr.as_str()), (0, ""));
    let asked = &serde_json::from_str::<Value>(&stdout).unwrap()["effectiveRequest"];
    assert_eq!(asked["costParameters"]["layerCount"], json!(12.0));
    assert_eq!(asked["costParameters"]["warmCache"], json!(true));
    assert_eq!(asked["horizonMonths"], json!([6]));
    assert_eq!(asked["ceilingPerSecond"], json!(1000.0));
}

#[tokio::test]
async fn a_cost_model_is_told_without_a_server() {
    let (code, stdout, stderr) = run(NOBODY, &["rates", "model", "published-2020"]).await;
    assert_eq!((code, stderr.as_str()), (0, ""));
    let told = lines(&stdout);
    assert!(told[0].starts_with("METHOD  HANDLER ") && told[0].ends_with("  NOTE"), "{stdout}");
    assert_eq!(
        told[6],
        "PUT     Blob Upload  -     any   100 %       1       3       0       0  create the repository, which exists; \
         find it; create the blob; link it"
    );
    let (_, stdout, _) = run(NOBODY, &["rates", "model"]).await;
    let dear = stdout.lines().find(|line| line.contains("new image by tag  ")).unwrap();
    assert!(dear.contains("  49      12       1       0  9+4*L SELECT + 2+L INSERT + 1 UPDATE; "), "{dear}");
    assert!(stdout.contains("\nassumed     cold cache; L = 10 (layers of an image), "), "{stdout}");
    for (format, start) in [
        ("csv", "# cost model: registry-4.32 (registry-4.32.0-1)\n"),
        ("markdown", "# What one request costs\n"),
        ("json", "{\n  \"costModelVersion\": \"registry-4.32.0-1\""),
    ] {
        let (code, stdout, stderr) = run(NOBODY, &["rates", "model", "-o", format]).await;
        assert_eq!((code, stderr.as_str()), (0, ""));
        assert!(stdout.starts_with(start), "{format}: {stdout}");
    }
}
