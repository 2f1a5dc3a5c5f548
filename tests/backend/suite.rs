//! The suite as macros, so that each case is named once: a test program expands them for each of its backends.

/// Makes a test of each case, in virtual time unless something has to cross a network.
macro_rules! suite {
    (#[$runtime:meta] $Store:ty: $($module:ident::$case:ident,)*) => {
        $(
            #[$runtime]
            async fn $case() {
                if let Some(store) = <$Store as $crate::store::Store>::begin().await {
                    Box::pin($crate::$module::$case(store)).await;
                }
            }
        )*
    };
}

/// What holds for every backend.
macro_rules! all_cases {
    (#[$runtime:meta] $Store:ty) => {
        suite! { #[$runtime] $Store:
            cases::readers_on_every_node_see_one_order,
            cases::the_readers_of_a_node_share_an_events_bytes,
            cases::one_cursor_resumes_any_set_of_channels_on_any_node,
            cases::a_reader_that_hops_between_nodes_gets_everything_once,
            cases::publishers_on_all_nodes_at_once_are_in_one_order,
            cases::a_live_reader_starts_after_every_acknowledged_event,
            cases::eviction_by_count_is_a_gap_for_affected_readers,
            cases::eviction_by_bytes_is_a_gap_for_affected_readers,
            cases::eviction_by_age_is_a_gap_for_affected_readers,
            cases::targeted_events_are_private_live_and_in_replay,
            cases::custom_ids_resume_anywhere_and_are_unique_while_held,
            cases::a_custom_id_is_unique_among_what_a_reader_sees,
            cases::an_unknown_id_is_a_gap,
            cases::a_finished_channel_ends_everywhere,
            cases::a_closed_channel_ends_everywhere_and_can_be_used_again,
            cases::a_repeated_publish_changes_nothing,
            cases::a_repeated_publish_is_answered_with_the_first_id,
            cases::a_node_says_how_many_it_reached,
            cases::a_reader_that_reconnects_before_its_first_event_gets_no_gap,
            cases::repeated_publishes_on_all_nodes_at_once_are_one,
            cases::every_node_sees_who_is_connected_anywhere,
            events::ephemeral_events_reach_the_readers_of_every_node_in_publish_order,
            events::an_ephemeral_event_is_no_history_and_has_no_id,
            events::an_ephemeral_event_reaches_nobody_that_it_is_not_for,
            events::an_event_reaches_nobody_that_it_excludes_live_and_in_replay,
            events::what_excludes_a_reader_and_is_evicted_is_no_gap_for_it,
            events::a_channel_without_history_loses_nothing_for_connected_readers,
            events::a_reader_that_comes_later_gets_only_the_history,
            events::a_run_is_held_whole_until_some_time_after_its_end,
            events::an_events_trace_reaches_every_node_live_and_in_replay,
            access::a_client_is_disconnected_on_every_node,
            access::a_client_is_authorized_anew_on_every_node,
            access::a_channel_is_unread_when_nobody_reads_it_on_any_node,
            reading::a_node_that_never_opened_a_channel_reads_all_of_it,
            reading::pages_follow_each_other_to_the_end,
            reading::a_page_says_what_is_missing_before_it_and_nothing_else,
            reading::only_one_page_reports_a_gap,
            reading::no_page_of_a_channel_that_begins_anew_has_a_gap,
            reading::a_clients_page_says_that_its_own_events_are_gone,
            reading::a_page_of_a_closed_channel_begins_anew,
            reading::info_says_how_a_channel_is,
            reading::a_channel_that_never_was_is_refused_if_it_has_to_exist,
            reading::a_fresh_reader_of_the_whole_channel_is_told_if_its_beginning_is_gone,
            reading::a_subscription_says_what_its_resume_found,
            writing::events_sent_together_come_together_and_in_order,
            writing::events_sent_together_are_all_sent_or_none,
            writing::a_batch_larger_than_the_history_leaves_its_newest_events,
            writing::an_event_that_was_sent_before_is_left_out_of_a_batch,
            writing::an_event_with_a_condition_is_sent_only_after_the_expected_one,
            writing::of_writers_that_expect_the_same_one_succeeds,
            writing::a_repeated_event_with_a_condition_does_not_conflict_with_itself,
            writing::an_old_fence_is_refused_on_every_node,
            writing::a_fence_and_the_last_cursor_outlive_the_events_of_their_channel,
            writing::a_channel_ends_without_an_event,
            writing::an_end_reaches_every_reader_whomever_the_last_event_is_for,
            writing::a_channel_is_finished_from_code_that_is_not_async,
        }
    };
}

/// What holds for every backend whose time is virtual.
#[allow(unused_macros, reason = "Redis has a time of its own")]
macro_rules! all_timed {
    (#[$runtime:meta] $Store:ty) => {
        suite! { #[$runtime] $Store:
            writing::a_key_is_known_as_long_as_its_event_is_held,
        }
    };
}

/// What holds when nodes can be cut off from the store, and the store can lose its data.
macro_rules! all_faults {
    (#[$runtime:meta] $Store:ty) => {
        suite! { #[$runtime] $Store:
            faults::an_emptied_store_begins_an_epoch_and_is_a_gap_for_everybody,
            faults::a_store_that_lost_its_last_events_begins_another_epoch,
            faults::a_feed_that_drops_messages_is_repaired,
            faults::a_reader_of_several_channels_waits_for_the_channel_that_is_behind,
            faults::the_rest_of_finished_channels_comes_once_every_channel_is_known,
            faults::a_feed_that_drops_the_last_message_is_repaired,
            faults::readers_of_many_channels_miss_nothing_silently_when_the_feed_drops,
            faults::an_event_lost_for_another_client_is_no_gap,
            faults::a_loss_before_a_reader_opened_is_a_gap_only_if_it_wants_held_events,
            faults::a_lost_event_that_is_back_before_it_is_missed_is_no_gap,
            faults::a_reader_that_passed_a_loss_is_told_although_the_event_came_back,
            faults::a_lost_event_that_is_then_evicted_is_a_gap,
            faults::a_slow_feed_delays_and_loses_nothing,
            faults::a_channel_that_is_whole_is_not_read_again,
            faults::an_event_of_another_epoch_is_not_mistaken_for_one_of_this_epoch,
            faults::an_id_of_an_epoch_that_a_node_has_not_heard_of_is_no_gap,
            faults::a_reader_that_waits_for_a_new_epoch_is_told_of_its_end,
            faults::a_reader_of_several_channels_waits_until_all_of_a_new_epoch_are_known,
            faults::a_resume_waits_for_a_custom_id_in_events_still_being_read,
            faults::a_silent_feed_is_given_up,
            faults::one_call_at_a_time_tells_who_is_connected,
            faults::many_channels_are_read_a_few_at_a_time,
            faults::a_channel_that_takes_longer_to_read_than_a_call_may_opens_while_pages_arrive,
            faults::a_cut_without_events_is_no_loss,
            faults::only_channels_that_have_changed_are_read_after_a_cut,
            faults::a_channel_that_is_forgotten_while_it_is_read_is_no_gap_after_a_cut,
            faults::a_channel_that_is_forgotten_and_may_have_had_events_is_a_gap_after_a_cut,
            faults::a_reader_that_reconnects_soon_finds_its_channel,
            faults::an_absent_store_is_asked_less_and_less_often,
            faults::an_unreadable_channel_keeps_only_its_own_readers_waiting,
            faults::a_reader_that_moves_away_from_a_node_that_can_not_read_one_of_its_channels_misses_nothing,
            faults::a_reader_that_opens_while_one_of_its_channels_can_not_be_read_misses_nothing,
            faults::a_reader_waits_for_a_channel_that_can_not_be_read_after_a_cut,
            faults::a_reader_waits_for_a_last_event_that_the_feed_lost_and_that_can_not_be_read,
            faults::while_the_store_is_away_a_reader_of_several_channels_gets_what_the_node_has,
            faults::a_reader_that_waits_for_an_unreadable_channel_is_told_of_its_end,
            faults::a_channel_that_can_not_be_read_is_read_through_while_it_gets_events,
            faults::a_channel_that_is_closed_while_it_is_read_keeps_nobody_waiting,
            faults::a_reader_that_opens_between_two_closes_is_ended_by_neither,
            faults::an_acknowledged_event_still_on_its_way_is_replayed,
            faults::an_event_published_while_the_feed_is_away_is_replayed,
            faults::events_on_their_way_follow_the_gap_of_a_closed_channel,
            faults::an_event_that_the_feed_lost_is_replayed_or_a_gap,
            faults::an_event_that_cannot_be_read_yet_is_replayed_too,
            faults::a_reader_that_returns_to_a_channel_forgotten_by_the_store_gets_no_gap,
            faults::a_reader_that_opens_a_channel_being_finished_gets_the_rest,
            faults::a_shutdown_ends_a_reader_that_waits_for_the_level,
            faults::a_feed_that_is_cut_repeatedly_loses_nothing,
            faults::while_the_store_is_away_publishing_fails_and_readers_stay,
            faults::a_lost_acknowledgement_may_be_retried,
            faults::a_custom_id_from_while_the_store_was_away_resumes_once_it_is_back,
            faults::a_reader_that_opens_while_the_store_is_away_is_told_to_come_back,
            faults::an_abandoned_opening_leaves_nothing_behind,
            faults::a_shutdown_waits_for_no_opening,
            faults::a_channel_without_readers_is_no_longer_watched,
            faults::a_publisher_without_readers_has_no_feed,
            faults::closing_the_only_channel_reports_nobody_present,
            faults::stored_bytes_that_are_no_event_are_a_gap_and_never_sent,
            faults::an_event_that_arrives_while_its_channel_is_read_is_not_missed,
            faults::a_channel_with_events_during_every_read_opens_after_one_read,
            faults::a_channel_that_evicts_more_than_it_holds_during_a_read_opens,
            faults::a_channel_with_events_during_every_read_recovers_after_a_cut,
            faults::a_channel_that_is_closed_while_the_store_is_silent_ends,
            faults::an_eviction_while_the_store_is_silent_is_a_gap,
            faults::a_channel_that_lost_its_readers_is_no_longer_watched_although_others_are,
            faults::an_event_that_the_store_does_not_know_is_not_read_for_ever,
            health::a_node_without_readers_is_ready_as_long_as_the_store_answers,
            health::a_node_whose_feed_is_down_is_not_ready_and_lags_more_and_more,
            health::a_node_lags_as_long_as_it_can_not_read_what_the_feed_has_lost,
            health::a_silent_feed_is_a_lag,
            writing::a_batch_of_which_the_feed_loses_a_part_comes_whole,
            writing::an_end_that_the_feed_loses_is_noticed,
            writing::an_end_asked_for_while_a_node_shuts_down_reaches_the_other_nodes,
            writing::a_batch_whose_acknowledgement_is_lost_may_be_retried,
            writing::a_channel_that_is_finished_while_the_store_is_away_is_finished_once_it_is_back,
        }
    };
}
