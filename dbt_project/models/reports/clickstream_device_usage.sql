select
    *,
    cast(screen_height as varchar) || ' x ' || cast(screen_width as varchar) as screen_resolution
from {{ ref("clickstream_device_view") }}
