-- Attributes of the users of an app whose first visit is from one day to another.
select
    a.app_id,
    a.user_pseudo_id,
    a.user_id,
    a.custom_attr_key,
    a.custom_attr_value
from clickstream_user_attr_view as a
inner join clickstream_user_dim_view as u
    on a.app_id = u.app_id and a.user_pseudo_id = u.user_pseudo_id
where
    a.app_id = ?
    and u.first_visit_date between cast(? as date) and cast(? as date)
