//! What holds for limits, as macros: they are for the programs that have the feature.

/// What holds for limits on several nodes.
macro_rules! all_limits {
    (#[$runtime:meta] $Store:ty) => {
        suite! { #[$runtime] $Store:
            limits::a_client_has_no_more_streams_than_it_may_on_all_nodes_together,
            limits::a_client_that_opens_many_streams_at_once_gets_as_many_as_it_may,
            limits::a_stream_that_ends_makes_room_on_every_node_before_its_reader_has_read_the_end,
        }
    };
}

/// What holds for limits when nodes can be cut off from the store, and the store can lose its data.
macro_rules! all_limits_with_faults {
    (#[$runtime:meta] $Store:ty) => {
        suite! { #[$runtime] $Store:
            limits::the_streams_of_a_node_that_is_gone_count_for_fifteen_seconds,
            limits::a_store_that_has_lost_the_streams_learns_of_them_with_the_next_report,
            limits::while_the_store_is_away_each_node_limits_its_own_streams,
            limits::a_stream_that_ends_while_the_store_is_away_makes_room_once_it_is_back,
        }
    };
}
