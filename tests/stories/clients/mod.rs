//! What some fifteen clients were seen to send, replayed: none of the 32 things that were noted about them breaks one.
//!
//! `recorded` has the clients, with the headers that each sends, and `talk` speaks as they do. Whole clients run in `tests/clients`. Of the 32 notes
//!
//! | | what was noted | is held by |
//! |---|---|---|
//! | 1 | `doctl auth init` takes 64 characters, and asks `/v1/oauth/token/info` | `refusals::doctl_auth_init_is_answered_here`, `running::token_info_answers_doctl_in_digitaloceans_shape` |
//! | 2 | ansible gives up on 401 alone | `refusals::ansible_goes_on_where_the_account_is_out_of_scope` |
//! | 3 | errors need `id` and `message` | `refusals::every_client_gets_a_refusal_it_can_show`; `tests/clients` sees the messages shown |
//! | 4 | 429 and 5xx are sent again | `refusals::no_refusal_is_sent_again`, `failures::after_a_byte_of_a_write_has_left_the_client_is_told_to_look_first` |
//! | 5 | doctl drops failing pages | `refusals::a_listing_is_refused_on_its_first_page_or_not_at_all` |
//! | 6 | pydo returns the body of a 404 | `refusals::a_404_of_the_api_stays_one` |
//! | 7 | Terraform polls until 404 | `refusals::a_404_of_the_api_stays_one` |
//! | 8 | links are followed as they stand | `links::python_digitalocean_is_led_back`, `links::lexicon_finds_its_own_base`; certbot and lexicon in `tests/clients` |
//! | 9 | `links` is read in every list | `links::octodns_walks_to_the_last_page` |
//! | 10 | slashes at the end, an empty `?` | `targets::slashes_and_queries_that_clients_add_change_nothing`, `reading::odd_but_harmless_targets_arrive_in_one_form` |
//! | 11 | queries on every method | `targets::slashes_and_queries_that_clients_add_change_nothing`, `targets::a_deletion_by_tag_is_told_by_its_tag` |
//! | 12 | `?type=` and `expiry_seconds=0` | `targets::parameters_without_a_value_are_sent_on`, `roles::s3_the_login_never_outlives_the_sub_token` |
//! | 13 | the base URL is the root | `running::a_base_url_with_v2_in_it_is_explained` |
//! | 14 | bodies on GET and DELETE | `bodies::a_body_on_get_stays_behind_and_one_on_delete_travels_on`, `reading::a_body_on_get_stays_behind_and_one_on_delete_travels_on` |
//! | 15 | dots says the same key twice | `bodies::dots_may_repeat_itself` |
//! | 16 | members that the API does not know, and nulls | `bodies::members_that_nobody_knows_and_nulls_ask_for_nothing` |
//! | 17 | ids as numbers and as strings | `bodies::a_private_image_is_one_as_a_number_and_as_a_string`, `bodies::values_arrive_in_the_type_they_came_in` |
//! | 18 | objects named in the body, and by tag | `bodies::what_a_body_or_a_tag_names_asks_for_its_scope` |
//! | 19 | actions are polled without their Droplet | `flows::doctl_waits_for_a_droplet` |
//! | 20 | record names relative, or absolute with a dot | `flows::records_are_written_in_every_clients_way`; lego and certbot in `tests/clients` |
//! | 21 | records are deleted by their id alone | `flows::records_are_written_in_every_clients_way`; lego in `tests/clients` |
//! | 22 | certbot lists all domains | certbot in `tests/clients` |
//! | 23 | doctl lists before it deletes by name or tag | `flows::doctl_deletes_by_tag_what_it_listed` |
//! | 24 | what was made is read back at once | `flows::terraform_reads_back_what_it_made` |
//! | 25 | who asks for gzip takes plain answers | `wire::every_client_is_heard_as_itself_and_no_more` |
//! | 26 | TLS with h2, with HTTP/1.1, without ALPN | `wire::a_client_that_names_no_protocol_gets_http_1`, `listening::tls_serves_http_1_and_2_and_links_lead_back_by_https` |
//! | 27 | pydo speaks TLS alone, others have a fixed host | pydo and lexicon in `tests/clients`, `links::lexicon_finds_its_own_base` |
//! | 28 | `content_type`, headers in lower case, `Connection: close` | `wire::every_client_is_heard_as_itself_and_no_more`, `wire::connections_end_as_clients_ask` |
//! | 29 | redirects are followed, and may mislead | `targets::slashes_and_queries_that_clients_add_change_nothing`, `failures::redirects_are_handed_back_and_never_followed` |
//! | 30 | answers that are no JSON, addresses elsewhere | `wire::what_is_no_json_or_leads_elsewhere_passes_as_it_is` |
//! | 31 | secrets in ordinary answers | `roles::s10_reading_everything_reaches_no_login`, as far as they have endpoints of their own |
//! | 32 | what never asks the base URL | nothing: it does not come here |
//!
//! Where `only` or a filtered list would decide (5, 6, 9, 18 to 24, 31), the notes are held for sub-tokens with scopes alone;
//! `narrowed` has whole stories with the narrowed roles of `examples/roles`.

mod bodies;
mod flows;
mod in_cluster;
mod links;
mod narrowed;
mod recorded;
mod refusals;
mod talk;
mod targets;
mod wire;

use crate::support::{Gate, StandInApi};

/// Everything, sensitive things that the stories need by name.
const ALL: &str = "'*', image:read, app:read, kubernetes:access_cluster";

/// A gate, and a sub-token with these scopes.
async fn gate(scopes: &str) -> (StandInApi, Gate, String) {
    let api = StandInApi::start().await;
    let policy =
        format!("version: 1\nroles: {{ some: {{ allow: [{{ scopes: [{scopes}] }}] }} }}\n");
    let gate = Gate::start(&api, &policy).await;
    let token = gate.issue(&["some", "--role", "some"]).await;
    (api, gate, token)
}
