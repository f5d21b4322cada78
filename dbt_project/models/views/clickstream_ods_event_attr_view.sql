select
    app_id,
    event_id,
    event_name,
    event_date,
    {{ nested("e.item.key", "string") }} as event_parameter_key,
    {{ value_text("e.item.value") }} as event_parameter_value
from {{ unnested(ref("clickstream_event_base"), "event_params") }} as e
