//! What Prometheus answers.

use serde_json::Value;

use crate::server::Prometheus;
use crate::tally::{Labels, labels};
use crate::until;

/// A series, with its samples: the time, in seconds since 1970, and the value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Answer {
    pub(crate) labels: Labels,
    pub(crate) samples: Vec<(f64, f64)>,
}

/// A time that is looked at, in seconds since 1970.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    pub(crate) from: f64,
    pub(crate) to: f64,
}

impl Answer {
    /// The newest value.
    pub(crate) fn value(&self) -> f64 {
        self.samples.last().expect("a sample").1
    }

    fn read(answer: &Value) -> Vec<Self> {
        let series = answer["result"].as_array().expect("series").iter();
        series.map(Self::of).collect()
    }

    fn of(series: &Value) -> Self {
        let names = series["metric"].as_object().expect("labels").iter();
        let labels = names.map(|(name, value)| (name.clone(), value.as_str().expect("text").to_owned())).collect();
        let sample = |pair: &Value| {
            let value = pair[1].as_str().expect("a number as text");
            (pair[0].as_f64().expect("a time"), value.parse().expect("a number"))
        };
        let samples = match &series["values"] {
            Value::Array(all) => all.iter().map(sample).collect(),
            _ => vec![sample(&series["value"])],
        };
        Self { labels, samples }
    }
}

impl Prometheus {
    /// The answer now.
    pub(crate) async fn query(&self, expression: &str) -> Vec<Answer> {
        Answer::read(&self.ask("query", &[("query", expression)]).await)
    }

    /// The answer as it was then.
    pub(crate) async fn query_at(&self, expression: &str, at: f64) -> Vec<Answer> {
        let answer = self.ask("query", &[("query", expression), ("time", &format!("{at:.3}"))]).await;
        Answer::read(&answer)
    }

    /// The answers each half second of a time.
    pub(crate) async fn query_over(&self, expression: &str, span: Span) -> Vec<Answer> {
        let (from, to) = (format!("{:.3}", span.from), format!("{:.3}", span.to));
        let parameters = [("query", expression), ("start", &*from), ("end", &*to), ("step", "0.5")];
        Answer::read(&self.ask("query_range", &parameters).await)
    }

    /// Waits for a scrape of the job that began after `moment`, and returns its time: a query at that time has what there was
    /// then, to the unit.
    pub(crate) async fn scraped_since(&self, job: &str, moment: f64) -> f64 {
        until(&format!("a scrape of {job}"), async || {
            // `timestamp` of a series is the time of its sample, of anything else that of the question.
            let at = self.query(&format!("timestamp(up{{job=\"{job}\"}})")).await;
            let Some(at) = at.first().map(Answer::value) else { return Err("none".to_owned()) };
            if at <= moment {
                return Err(format!("the last was at {at}, of {moment} or later there is none"));
            }
            let up = self.query_at(&format!("up{{job=\"{job}\"}}"), at).await;
            if up[0].value() == 1.0 { Ok(at) } else { Err(format!("that at {at} failed")) }
        })
        .await
    }

    /// Alerts that are firing: their labels.
    pub(crate) async fn firing(&self) -> Vec<Labels> {
        let alerts = self.ask("alerts", &[]).await;
        let firing = alerts["alerts"].as_array().expect("alerts").iter().filter(|alert| alert["state"] == "firing");
        firing.map(|alert| labels_of(&alert["labels"])).collect()
    }
}

/// Labels in JSON.
pub(crate) fn labels_of(object: &Value) -> Labels {
    let all = object.as_object().expect("labels").iter();
    labels(&all.map(|(name, value)| (name.as_str(), value.as_str().expect("text"))).collect::<Vec<_>>())
}
