//! Every row of the feature table works and is named in a test: this is where each of them is.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Number, title, and the tests: file and function.
type Row = (u32, &'static str, &'static [(&'static str, &'static str)]);

const TABLE: [Row; 18] = [
    (
        1,
        "time-based detection: n failures within a window",
        &[
            ("conformance", "c01_a_failure_is_out_when_it_is_exactly_one_window_old"),
            ("conformance", "c01_failures_that_left_the_window_count_no_more"),
        ],
    ),
    (
        2,
        "sliding window: failure rate over the last n calls, min calls",
        &[
            ("conformance", "c01_a_window_slides_after_ten_thousand_successes"),
            ("config", "c_breakers_sliding_window_has_its_defaults"),
            ("conformance", "c07_ignored_calls_are_no_calls_for_min_calls"),
        ],
    ),
    (3, "combined detectors, any and all", &[("control", "combined_detectors_trip_on_any_part_or_only_on_all")]),
    (
        4,
        "custom detector with serialisable state",
        &[
            ("control", "a_detector_of_ones_own_decides_and_its_state_comes_back_from_its_bytes"),
            ("config", "a_detector_of_ones_own_is_checked_too"),
        ],
    ),
    (
        5,
        "n of the last m as an unreduced ratio; success ratio to close",
        &[
            ("conformance", "c24_ratios_are_not_reduced"),
            ("conformance", "c24_a_ratio_of_probes_is_not_reduced"),
            ("control", "a_ratio_of_probes_is_decided_as_soon_as_it_is_certain"),
        ],
    ),
    (
        6,
        "consecutive failures; time-bucket rate; slow-call rate",
        &[
            ("conformance", "c07_ignored_calls_neither_reset_a_failure_run_nor_move_a_window"),
            ("conformance", "c11_successes_leave_a_window_of_time_under_paused_time"),
            ("control", "a_slow_success_is_judged_and_a_fast_one_is_not"),
        ],
    ),
    (
        7,
        "closed, open, half-open; cooldown; bounded probes; growing cooldown with jitter",
        &[
            ("control", "trip_opens_a_healthy_circuit_and_recovery_goes_on_by_itself"),
            ("conformance", "c06_half_open_admits_at_most_its_limit_under_a_hundred_clones_and_threads"),
            ("control", "a_growing_cooldown_doubles_with_each_reopening_up_to_its_cap"),
            ("control", "jitter_spreads_a_cooldown_within_ten_percent_and_never_beyond_its_range"),
        ],
    ),
    (
        8,
        "excluded errors; typed Success, Failure, Ignored; by value too",
        &[
            ("conformance", "c07_excluded_errors_are_ignored_in_closed_and_half_open"),
            ("composition", "what_is_shed_inside_can_be_excluded"),
            ("composition", "responses_to_rejections_keep_an_infallible_stack_infallible"),
        ],
    ),
    (
        9,
        "fallback with the request; async",
        &[
            ("composition", "a_fallback_gets_the_request_and_may_ask_another_guarded_service"),
            ("control", "a_fallback_answers_rejections_and_leaves_errors_alone"),
        ],
    ),
    (
        10,
        "state-change callbacks; full event stream",
        &[
            ("conformance", "c19_listeners_run_after_the_state_is_stored"),
            ("control", "the_event_stream_keeps_the_newest_and_says_how_many_it_dropped"),
            ("control", "call_events_tell_of_every_call_and_rejection"),
        ],
    ),
    (
        11,
        "manual control: call, state, is_open, stats, trip, reset, force open, disable, dry run",
        &[
            ("control", "reset_closes_an_open_and_a_half_open_circuit"),
            ("control", "forced_open_rejects_every_call_until_somebody_resumes"),
            ("control", "disabled_lets_every_call_through_and_records_nothing"),
            ("control", "a_dry_run_admits_records_and_reports_that_it_would_have_opened"),
            ("control", "a_snapshot_shows_state_since_reason_and_probes"),
        ],
    ),
    (
        12,
        "execution log: recent outcomes readable",
        &[
            ("control", "the_execution_log_runs_over_all_states_and_keeps_the_newest"),
            ("control", "without_a_log_the_recent_outcomes_are_those_that_matter_in_the_state"),
        ],
    ),
    (
        13,
        "the breaker behind a wrapped service or function; sync and async callers",
        &[
            ("control", "a_wrapped_function_goes_through_its_breaker_in_both_worlds"),
            ("service_contract", "inner_services_stay_within_reach"),
        ],
    ),
    (
        14,
        "global registry, get and get all; templates; bounded keyed breakers",
        &[
            ("registry", "registered_breakers_are_found_in_the_global_registry_and_names_are_taken_once"),
            ("registry", "the_template_makes_a_breaker_when_its_name_is_first_asked_for"),
            ("registry", "beyond_max_names_share_one_overflow_breaker_which_is_counted"),
            ("composition", "each_key_has_a_breaker_of_its_own"),
        ],
    ),
    (
        15,
        "every option of the two seeds with the same defaults",
        &[
            ("oracle_traces", "oracle_traces"),
            ("config", "the_defaults_are_those_of_c_breaker"),
            ("config", "the_documented_defaults_are_the_real_ones"),
        ],
    ),
    (
        29,
        "Tower face: layers, named futures, no needless bounds, four rejection modes, backpressure",
        &[
            ("composition", "boxed_rejections_pass_through_a_whole_stack"),
            ("composition", "mapped_rejections_keep_the_inner_error_type"),
            ("composition", "responses_to_rejections_keep_an_infallible_stack_infallible"),
            ("composition", "what_a_fallback_does_is_no_evidence"),
            ("composition", "a_sick_endpoint_drops_out_of_a_balance_and_returns"),
            ("service_contract", "requests_responses_and_errors_need_neither_clone_nor_sync"),
            (
                "service_contract",
                "the_inner_service_is_never_called_unready_whatever_happens_between_readiness_and_call",
            ),
        ],
    ),
    (
        33,
        "configuration from files and the environment, validated",
        &[
            ("config_file", "a_file_sets_everything_that_the_builder_does"),
            ("config_file", "the_environment_overrides_a_file"),
            ("config_file", "mistakes_are_refused_with_what_was_given_and_what_is_allowed"),
            ("config", "every_wrong_setting_is_an_error_that_names_field_given_and_allowed"),
        ],
    ),
    (
        34,
        "test kit: manual clock; paused Tokio time",
        &[
            ("conformance", "c11_cooldowns_follow_paused_time"),
            ("conformance", "c21_a_clock_that_steps_back_stretches_a_cooldown_and_nothing_more"),
        ],
    ),
];

/// Tells whether the text has a test function of that name.
fn has_test(text: &str, name: &str) -> bool {
    let lines: Vec<_> = text.lines().map(str::trim).collect();
    let is_head = |line: &str| {
        let head = line.strip_prefix("async ").unwrap_or(line);
        head.strip_prefix("fn ").is_some_and(|rest| rest.strip_prefix(name).is_some_and(|rest| rest.starts_with("()")))
    };
    let is_test = |line: &&str| line.starts_with("#[test]") || line.starts_with("#[tokio::test");
    let at = lines.iter().position(|line| is_head(line));
    at.is_some_and(|at| lines[..at].iter().rev().take_while(|line| line.starts_with("#[")).any(is_test))
}

/// The text of a test: its file, or all files of its folder.
fn text_of(test: &Path) -> String {
    if let Ok(text) = fs::read_to_string(test.with_extension("rs")) {
        return text;
    }
    let files = fs::read_dir(test).expect("a test file or a folder of one");
    files.map(|file| fs::read_to_string(file.expect("a file").path()).expect("a text file")).collect()
}

#[test]
fn every_feature_row_is_held_by_tests_that_exist() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let mut files = BTreeMap::new();
    for (number, title, tests) in TABLE {
        assert!(!tests.is_empty(), "{number}, {title}");
        for (file, name) in tests {
            let text = files.entry(*file).or_insert_with(|| text_of(&folder.join(file)));
            assert!(has_test(text, name), "{number}, {title}: no test `{name}` in tests/{file}.rs");
        }
    }
}

#[test]
fn the_rows_of_this_release_are_complete() {
    let numbers: Vec<_> = TABLE.iter().map(|(number, ..)| *number).collect();
    assert_eq!(numbers, (1..=15).chain([29, 33, 34]).collect::<Vec<_>>());
}

#[test]
fn only_functions_that_are_run_as_tests_count() {
    assert!(has_test("#[test]\nfn a() {}", "a"));
    assert!(has_test("    #[tokio::test(start_paused = true)]\n    async fn a() {}", "a"));
    assert!(!has_test("fn a() {}", "a"), "not a test");
    assert!(!has_test("#[test]\nfn ab() {}", "a"), "another name");
    assert!(!has_test("#[test]\nfn b() {}\n\nfn a() {}", "a"), "the attribute belongs to another");
    assert!(!has_test("// #[test]\n// fn a() {}", "a"), "a comment");
}
