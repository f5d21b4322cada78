select
    e.app_id,
    e.event_id,
    e.event_name,
    e.event_date,
    item.key as event_parameter_key,
    {{ value_text("item.value") }} as event_parameter_value
from {{ ref("clickstream_event_base") }} as e
{{ unnest_pairs("e", "event_params") }}
