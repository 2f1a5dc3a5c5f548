//! What holds for runs, as a macro: it is for the programs that have the feature.

/// What holds for runs on several nodes.
macro_rules! all_runs {
    (#[$runtime:meta] $Store:ty) => {
        suite! { #[$runtime] $Store:
            runs::a_run_is_read_stopped_and_asked_about_on_any_node,
            runs::a_late_reader_on_any_node_gets_all_of_a_run,
            runs::twenty_starts_on_all_nodes_are_one_producer,
            runs::a_thread_that_two_nodes_find_free_is_taken_by_one,
            runs::a_run_interrupts_or_waits_for_one_on_another_node,
            runs::a_node_that_is_cut_off_is_lost_and_its_writers_are_fenced_off,
            runs::a_thread_whose_node_is_gone_is_free_for_the_next_start,
            runs::asking_about_a_run_whose_node_is_gone_ends_it,
            runs::nobody_is_lost_while_the_store_is_away,
            runs::an_outcome_is_written_once_the_store_is_back,
            runs::a_start_whose_acknowledgement_is_lost_is_one_run,
            runs::a_late_reader_on_any_node_gets_few_events_and_goes_on_after_any,
            runs::a_start_that_fails_while_the_store_is_down_ends_no_other_run,
            runs::a_start_whose_acknowledgement_is_lost_leaves_no_run_without_a_producer,
            runs::a_run_that_was_handed_over_is_lost_only_with_its_new_node,
            runs::a_run_that_waits_when_its_node_is_noticed_to_be_gone_is_lost_with_the_next_one,
            runs::a_run_that_was_handed_over_ends_in_time_although_its_node_is_gone,
            runs::a_token_that_is_held_while_the_store_is_down_is_sent_once,
            runs::a_run_whose_producer_is_done_is_not_handed_over_while_its_last_token_waits_for_the_store,
        }
    };
}
