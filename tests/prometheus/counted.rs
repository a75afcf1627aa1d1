//! What Prometheus has, and what the application has counted itself.

use crate::outage::Scene;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_prometheus_has_is_what_the_application_has_counted() {
    let mut scene = Scene::new("counted", "").await;
    let scrapes = scene.play().await;
    // Through either bridge, once there is nothing more to count.
    for (job, at) in scene.app.jobs().iter().zip(scrapes) {
        let compared = scene.stage.tally.compare(&scene.prometheus, job.name, at).await;
        assert!(compared > 60, "{}: {compared} series were compared", job.name);
    }
    let open = format!("fusebox_breaker_state{{breaker=\"{}\", state=\"open\"}}", scene.stage.name("search"));
    let answers = scene.prometheus.query_at(&open, scrapes[0]).await;
    assert_eq!(answers.iter().map(|answer| answer.value()).collect::<Vec<_>>(), [1.0, 1.0], "in both jobs");
}
