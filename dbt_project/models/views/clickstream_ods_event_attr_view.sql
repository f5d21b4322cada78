select
    app_id,
    event_id,
    event_name,
    event_date,
    item.key as event_parameter_key,
    {{ value_text("item.value") }} as event_parameter_value
from {{ unnested(ref("clickstream_event_base"), "event_params") }} as e
