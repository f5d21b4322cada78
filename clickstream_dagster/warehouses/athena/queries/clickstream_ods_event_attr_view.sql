-- Parameters of the events of an app from one day to another.
select
    app_id,
    event_id,
    event_name,
    event_date,
    event_parameter_key,
    event_parameter_value
from clickstream_ods_event_attr_view
where
    app_id = ?
    and event_date between cast(? as date) and cast(? as date)
