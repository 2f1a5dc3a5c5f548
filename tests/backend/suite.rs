//! The suite as macros, which name each case once: a program of tests makes of them what its backends run.

/// Each case as a test of its own, in virtual time where nothing has to come over a network.
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
            cases::a_live_reader_starts_after_what_was_acknowledged,
            cases::eviction_by_count_is_a_gap_for_whom_it_concerns,
            cases::eviction_by_bytes_is_a_gap_for_whom_it_concerns,
            cases::eviction_by_age_is_a_gap_for_whom_it_concerns,
            cases::targeted_events_are_private_live_and_in_replay,
            cases::custom_ids_resume_anywhere_and_are_unique_while_held,
            cases::an_unknown_id_is_a_gap,
            cases::a_finished_channel_ends_everywhere,
            cases::a_closed_channel_ends_everywhere_and_begins_anew,
            cases::a_repeated_publish_changes_nothing,
            cases::a_node_says_how_many_it_reached,
            cases::who_comes_back_before_its_first_event_is_told_no_gap,
            cases::repeated_publishes_on_all_nodes_at_once_are_one,
            cases::whoever_is_connected_is_present_on_every_node,
        }
    };
}

/// What holds where nodes can be cut off from the store, and the store can lose its data.
macro_rules! all_faults {
    (#[$runtime:meta] $Store:ty) => {
        suite! { #[$runtime] $Store:
            faults::an_empty_store_is_another_epoch_and_a_gap_for_all,
            faults::a_store_that_lost_its_last_events_begins_another_epoch,
            faults::a_feed_that_drops_messages_is_repaired,
            faults::a_reader_of_several_channels_goes_no_further_than_all_is_known,
            faults::what_is_left_of_finished_channels_comes_once_all_is_known,
            faults::a_feed_that_drops_the_last_message_is_repaired,
            faults::readers_of_many_channels_miss_nothing_silently_when_the_feed_drops,
            faults::what_was_lost_for_another_client_is_no_gap,
            faults::what_was_lost_before_a_reader_came_is_a_gap_to_who_wants_what_is_held_only,
            faults::what_was_lost_and_is_back_before_it_is_missed_is_no_gap,
            faults::who_passed_what_was_lost_is_told_though_it_came_back_since,
            faults::what_was_lost_and_is_evicted_is_told,
            faults::a_slow_feed_delays_and_loses_nothing,
            faults::a_channel_that_is_whole_is_not_read_again,
            faults::an_event_of_another_epoch_is_not_taken_for_one_of_this,
            faults::an_id_of_an_epoch_that_a_node_has_not_heard_of_is_no_gap,
            faults::who_waits_for_a_new_epoch_is_told_of_its_end,
            faults::a_reader_of_several_channels_waits_until_all_of_a_new_epoch_are_known,
            faults::a_custom_id_in_what_is_being_read_is_waited_for,
            faults::a_feed_that_says_nothing_any_more_is_given_up,
            faults::many_channels_are_read_a_few_at_a_time,
            faults::a_channel_that_takes_longer_than_a_call_may_opens_as_long_as_it_comes,
            faults::a_cut_during_which_nothing_comes_is_no_loss,
            faults::who_comes_back_soon_finds_its_channel_there,
            faults::a_store_that_is_away_is_asked_less_and_less_often,
            faults::a_channel_that_cannot_be_read_holds_nobody_for_long,
            faults::a_channel_that_is_closed_while_it_is_read_holds_nobody,
            faults::who_comes_between_two_closes_is_ended_by_neither,
            faults::what_was_acknowledged_is_replayed_though_it_is_on_its_way,
            faults::what_was_published_while_the_feed_is_away_is_replayed,
            faults::after_a_gap_of_a_closed_channel_comes_what_is_on_its_way,
            faults::what_the_feed_lost_is_replayed_or_told,
            faults::what_cannot_be_read_yet_is_replayed_too,
            faults::who_comes_back_to_a_channel_that_the_store_has_forgotten_is_told_no_gap,
            faults::who_comes_to_a_channel_that_is_being_finished_gets_what_is_left,
            faults::a_shutdown_ends_who_waits_for_the_level,
            faults::a_feed_that_is_cut_again_and_again_loses_nothing,
            faults::while_the_store_is_away_publishing_fails_and_readers_stay,
            faults::a_lost_acknowledgement_may_be_retried,
            faults::a_custom_id_of_while_the_store_was_away_resumes_when_it_is_back,
            faults::a_reader_that_opens_while_the_store_is_away_is_told_to_come_back,
            faults::an_opening_that_is_given_up_leaves_nothing_behind,
            faults::a_shutdown_waits_for_no_opening,
            faults::a_channel_without_readers_is_watched_no_more,
            faults::a_publisher_without_readers_has_no_feed,
            faults::when_the_only_channel_is_closed_nobody_is_said_to_be_there,
            faults::what_is_no_event_is_a_gap_and_is_never_sent,
            faults::an_event_that_comes_while_its_channel_is_read_is_not_missed,
            faults::a_channel_that_is_closed_while_nothing_is_heard_of_the_store_ends,
            faults::what_is_evicted_while_nothing_is_heard_of_the_store_is_a_gap,
            faults::a_channel_that_lost_its_readers_is_watched_no_more_though_others_are,
            faults::what_the_feed_brings_and_the_store_does_not_know_is_not_read_for_ever,
        }
    };
}
