//! Every row of the feature table works and is named in a test: this is where each of them is.

use test_names::{Tests, has_test};

#[path = "support/test_names.rs"]
mod test_names;

/// Number, title, and the tests: file and function.
type Row = (u32, &'static str, &'static [(&'static str, &'static str)]);

const TABLE: [Row; 43] = [
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
            ("fallback", "errors_are_replaced_and_answers_are_not"),
            ("fallback", "with_request_gets_the_request_as_it_was"),
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
            ("registry", "beyond_max_names_share_overflow_breakers_which_are_counted"),
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
        16,
        "retry: max retries, fixed and exponential delay with factor and jitter, should_handle",
        &[
            ("oracle_traces", "oracle_traces"),
            ("retry", "max_retries_does_not_count_the_first_attempt"),
            ("retry", "the_curve_of_the_configuration_is_the_one_that_is_waited"),
            ("retry", "what_is_no_failure_is_not_retried"),
            ("retry", "the_last_error_comes_back_unchanged_and_with_its_type"),
            ("conformance", "c26_jitter_never_exceeds_the_cap_and_proportional_jitter_keeps_both_ends"),
            ("conformance", "c33_the_ten_thousandth_delay_of_every_curve_is_finite_and_within_its_cap"),
        ],
    ),
    (
        17,
        "retry: deadline, attempt timeout, budget, Retry-After and pushback, body replay, idempotency, breaker-aware",
        &[
            ("conformance", "c27_a_budget_is_exact_at_every_step"),
            ("conformance", "c27_concurrent_withdrawals_never_overdraw"),
            ("conformance", "c28_there_is_no_sleep_past_the_deadline"),
            ("conformance", "c29_rejections_spend_no_budget_and_take_no_token"),
            ("retry", "an_attempt_without_an_answer_in_time_is_given_up_and_made_again"),
            ("retry", "tokens_allow_retries_while_more_than_half_are_left"),
            ("http_retry", "c65_no_retry_comes_sooner_than_the_server_says_nor_than_the_backoff"),
            ("http_retry", "c30_a_date_is_a_wait_until_then"),
            ("http_retry", "c31_a_body_is_replayed_however_much_earlier_attempts_read_of_it"),
            ("http_retry", "c31_a_body_is_replayed_up_to_the_cap_and_beyond_it_sent_once_and_whole"),
            ("http_retry", "c32_idempotent_methods_are_sent_again_and_no_others"),
            ("grpc", "c30_pushback_replaces_the_backoff"),
            ("grpc", "c30_negative_or_malformed_pushback_ends_the_retries"),
        ],
    ),
    (
        18,
        "SafetyNet: policies composed in order, duplicates refused (that one is a doctest)",
        &[
            ("oracle_traces", "oracle_traces"),
            ("safety_net", "the_first_policy_is_the_outermost_in_every_order"),
            ("safety_net", "presets_say_their_retries_budgets_and_limits"),
        ],
    ),
    (
        19,
        "Redis store: single, Sentinel, Cluster, TLS, key prefix, TTL, the caller's own client",
        &[
            ("stores", "it_keeps_the_contract_combines_and_pushes"),
            ("stores", "a_primary_that_sentinels_replace_is_found_again"),
            ("stores", "a_cluster_keeps_the_contract_combines_and_pushes"),
            ("stores", "a_private_authority_is_trusted_where_it_is_given"),
            ("stores", "namespaces_are_apart"),
            ("stores", "people_see_a_summary_and_every_key_expires"),
        ],
    ),
    (
        20,
        "Postgres store: seed 2's table and monitoring SQL, set-up command, env variables, the caller's own pool, PgBouncer, TLS",
        &[
            ("stores", "postgres_keeps_the_contract_combines_and_pushes"),
            ("stores", "rows_and_queries_of_an_older_table_live_on"),
            ("stores", "databases_are_created_once_and_migrated_as_often_as_one_likes"),
            ("stores", "a_pools_settings_are_taken_and_none_of_its_connections"),
            ("stores", "a_pooler_in_transaction_mode_may_stand_between"),
            ("stores", "commands_and_notices_are_encrypted_where_the_url_asks_for_it"),
            ("operator", "people_query_what_breakers_share"),
        ],
    ),
    (
        21,
        "persistence over restarts; atomic under concurrency",
        &[
            ("fleet_processes", "c46_an_instance_that_starts_again_finds_state_and_counts"),
            ("fleet_processes", "c42_a_batch_whose_answer_was_lost_counts_once"),
        ],
    ),
    (
        22,
        "memory when no store is configured; local detection when it is down; error at start when asked",
        &[
            ("fleet", "without_its_store_an_instance_goes_on_by_itself_from_what_it_knew"),
            ("fleet_processes", "c38_a_store_that_is_down_at_first_and_later_is_told_of_once_each_way_and_calls_go_on"),
            ("fleet_processes", "c38_what_is_done_while_the_store_is_away_is_as_was_chosen"),
        ],
    ),
    (
        23,
        "third-party stores: one small trait, a conformance suite",
        &[
            ("stores", "a_store_that_can_only_compare_and_swap_keeps_the_contract"),
            ("stores", "the_suite_finds_each_mistake_by_the_check_that_is_for_it"),
            ("file_store", "it_keeps_the_contract"),
        ],
    ),
    (
        24,
        "no store I/O on the call path; no writes when healthy",
        &[
            ("fleet", "healthy_calls_write_nothing"),
            ("fleet_processes", "c37_a_hung_store_delays_no_call_and_detection_stays_alive"),
            ("fleet_processes", "c44_rejected_calls_in_half_open_send_nothing_to_the_store"),
        ],
    ),
    (
        25,
        "fleet-wide counting, exactly once",
        &[
            ("fleet_processes", "c34_forty_failures_over_four_processes_trip_a_window_of_twenty_exactly_once"),
            ("fleet_processes", "c42_without_the_marks_of_batches_the_same_would_count_twice"),
        ],
    ),
    (
        26,
        "fleet-wide probes with leases that always come back",
        &[
            ("fleet_processes", "c35_one_probe_reaches_the_dependency_from_ten_processes"),
            ("fleet_processes", "c36_a_fleet_recovers_when_its_prober_was_killed"),
        ],
    ),
    (
        27,
        "`Fleet::votes(k)`: one bad node cannot open the fleet",
        &[
            ("fleet_processes", "c41_one_bad_instance_of_ten_protects_itself_and_the_others_go_on"),
            ("fleet", "a_vote_opens_the_instance_and_a_quorum_the_fleet"),
        ],
    ),
    (
        28,
        "fleet-wide overrides with reason, actor, expiry",
        &[
            ("fleet_processes", "c45_orders_from_one_process_reach_all_with_reason_and_actor_with_and_without_push"),
            ("fleet", "an_override_stands_everywhere_with_its_reason_and_who_gave_it"),
            ("fleet", "an_override_ends_everywhere_at_its_time"),
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
        30,
        "HTTP and gRPC classification incl. end of stream and trailers",
        &[
            ("http_retry", "server_errors_and_what_asks_for_another_attempt_are_retried_and_nothing_else"),
            ("grpc", "a_status_in_the_headers_counts_at_once"),
            ("grpc", "a_status_in_the_trailers_counts_when_they_are_read"),
            ("grpc", "a_response_that_ends_without_a_status_is_a_failure"),
            ("grpc", "a_probe_is_decided_by_its_trailers_alone"),
            ("e2e", "a_failure_that_is_in_the_trailers_only_opens_the_circuit"),
        ],
    ),
    (
        31,
        "runs unmodified around axum (server, per route), tonic (client, server), reqwest, hyper",
        &[
            ("e2e", "each_route_has_a_breaker_and_answers_503_for_itself"),
            ("e2e", "a_client_sees_unavailable_with_pushback_in_either_mode"),
            ("e2e", "a_server_has_a_breaker_for_each_method"),
            ("e2e", "retries_go_on_until_it_works_and_the_breaker_sees_every_attempt"),
            ("e2e", "a_breaker_in_the_connector_opens_on_refused_connections"),
            ("e2e", "an_upload_whose_connection_breaks_midway_arrives_whole"),
            ("e2e", "an_ill_server_is_probed_and_returns_when_it_is_well"),
        ],
    ),
    (
        32,
        "tracing, metrics (Prometheus), health, command line",
        &[
            ("logs", "an_outage_is_told_from_its_beginning_to_its_end"),
            ("logs", "an_override_is_told_with_its_reason_and_who_gave_it_when_it_is_set_and_when_it_ends"),
            ("counts", "prometheus_client_shows_what_the_application_has_counted"),
            (
                "conformance",
                "c20_the_exported_state_is_right_in_each_state_and_after_recovery_and_each_transition_is_counted",
            ),
            ("health", "an_open_circuit_is_degraded_and_a_critical_one_is_down_until_a_call_may_show_that_it_is_well"),
            ("fleet_processes", "an_outage_is_walked_through_as_the_page_for_operators_says"),
        ],
    ),
    (
        33,
        "configuration from files and the environment, validated",
        &[
            ("settings", "a_file_sets_everything_that_the_builder_does"),
            ("settings", "the_environment_overrides_a_file"),
            ("settings", "mistakes_are_told_with_path_value_what_is_allowed_and_what_was_meant"),
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
    (
        36,
        "a fleet of one decides as a breaker without a store, a fleet of n as one that saw all calls",
        &[
            ("fleet_processes", "c51_an_instance_alone_decides_as_a_breaker_without_a_store"),
            ("fleet_processes", "c52_failures_between_the_calls_of_others_are_in_no_row"),
        ],
    ),
    (
        37,
        "no verdict on evidence that has not arrived; zero writes while healthy",
        &[
            ("fleet_processes", "c53_one_bad_instance_of_ten_opens_no_fleet_and_a_dead_dependency_does"),
            ("fleet", "healthy_calls_write_nothing"),
            ("fleet", "healthy_calls_under_a_rate_write_no_more_than_a_flush_does"),
        ],
    ),
    (38, "recovery at any traffic", &[("fleet_processes", "c54_a_fleet_recovers_though_its_calls_are_seconds_apart")]),
    (39, "idle breakers at no cost; cost follows change", &[("fleet", "c56_cost_follows_change_and_not_number")]),
    (
        41,
        "own faults of the caller never count against the dependency; exclude on every classifier",
        &[
            ("wire", "c63_what_is_the_callers_own_is_not_sent_again_and_opens_no_circuit"),
            ("wire", "an_address_that_cannot_be_meant_is_the_callers_mistake"),
            ("wire", "a_body_that_breaks_is_the_callers_own"),
            ("wire", "load_that_was_shed_is_the_callers_own"),
            ("outcomes", "the_table_of_errors_is_what_the_tests_of_real_clients_hold"),
            ("outcomes", "each_classifier_leaves_out_what_it_is_told"),
        ],
    ),
    (
        43,
        "counts at a nanosecond, three metrics ecosystems, `tracing`, Grafana board and alert rules proven on a real Prometheus",
        &[
            ("counts", "counting_allocates_nothing_after_the_first_time"),
            ("counts", "the_sum_over_threads_that_come_and_go_is_exact_and_never_falls"),
            ("counts", "prometheus_client_shows_what_the_application_has_counted"),
            ("counts", "the_metrics_facade_shows_what_the_application_has_counted"),
            ("counts", "opentelemetry_shows_what_the_application_has_counted_until_it_is_dropped"),
            ("logs", "an_outage_is_told_from_its_beginning_to_its_end"),
            ("prometheus", "what_prometheus_has_is_what_the_application_has_counted"),
            ("prometheus", "an_opening_of_200_milliseconds_between_two_scrapes_is_counted"),
            ("prometheus", "promtool_finds_nothing_wrong_with_what_is_scraped"),
            ("prometheus", "alerts_fire_while_something_is_wrong_and_clear_afterwards"),
            ("prometheus", "every_query_of_the_board_has_an_answer_with_what_its_legend_names"),
            ("logs", "ten_thousand_failing_calls_tell_nothing_above_debug_but_the_transitions_in_their_order"),
        ],
    ),
    (
        44,
        "operator's API, program `fusebox`, audit of who did what",
        &[
            ("operator", "two_running_instances_follow_each_command"),
            ("operator", "breakers_are_listed_by_name_as_far_as_they_fit"),
            ("cli", "an_operator_needs_no_code_of_the_application"),
            ("cli", "ten_thousand_breakers_are_listed_within_45_round_trips"),
            ("cli", "records_that_cannot_be_read_are_four"),
            ("cli", "a_store_that_does_not_answer_is_three_and_one_line"),
            ("cli", "no_output_has_the_password_of_an_address"),
            ("cli", "all_that_is_printed_for_programs_is_valid_by_the_schema"),
            ("fleet_processes", "an_outage_is_walked_through_as_the_page_for_operators_says"),
            ("fleet_processes", "the_readme_shows_the_program_as_it_is"),
            ("fleet_processes", "c45_orders_from_one_process_reach_all_with_reason_and_actor_with_and_without_push"),
            ("logs", "an_override_is_told_with_its_reason_and_who_gave_it_when_it_is_set_and_when_it_ends"),
        ],
    ),
    (
        45,
        "health that does not take a whole fleet out of the balancer",
        &[
            ("fleet_processes", "a_bad_node_leaves_and_comes_back_and_the_others_stay"),
            ("fleet_processes", "a_bad_dependency_takes_no_instance_out"),
            ("fleet_processes", "a_bad_dependency_of_a_pooled_fleet_takes_no_instance_out"),
            ("fleet_processes", "a_store_that_is_away_takes_no_instance_out_and_neither_does_a_dependency_with_it"),
            ("health", "an_open_circuit_is_degraded_and_a_critical_one_is_down_until_a_call_may_show_that_it_is_well"),
        ],
    ),
    (
        46,
        "credentials that rotate, least-privilege roles printed by the tool, schema, TLS for both stores",
        &[
            ("stores", "a_password_of_redis_is_asked_for_with_each_dial"),
            ("stores", "a_password_of_postgres_is_asked_for_with_each_dial"),
            ("cli", "what_is_printed_is_what_migrate_runs"),
            ("cli", "printed_text_run_by_hand_is_enough_for_a_role_with_the_least_rights"),
            ("stores", "commands_and_notices_are_encrypted_where_the_url_asks_for_it"),
            ("stores", "a_private_authority_is_trusted_where_it_is_given"),
        ],
    ),
];

#[test]
fn every_feature_row_is_held_by_tests_that_exist() {
    let mut known = Tests::default();
    for (number, title, tests) in TABLE {
        assert!(!tests.is_empty(), "{number}, {title}");
        for (file, name) in tests {
            assert!(known.have(file, name), "{number}, {title}: no test `{name}` in tests/{file}.rs");
        }
    }
}

#[test]
fn the_rows_of_this_release_are_complete() {
    let numbers: Vec<_> = TABLE.iter().map(|(number, ..)| *number).collect();
    assert_eq!(numbers, (1..=34).chain(36..=39).chain([41]).chain(43..=46).collect::<Vec<_>>());
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
