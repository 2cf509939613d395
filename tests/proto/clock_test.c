#include "base/clock.h"

#include "tests/t/t.h"

TEST(real_time_goes_forward)
{
    int64_t a = clock_ns(), b = clock_ns();

    EXPECT(a > 0 && b >= a);
    EXPECT(clock_wall_ms() > INT64_C(1700000000000));
}

TEST(fake_time_stands_still_until_it_is_moved)
{
    clock_fake(5, 7);
    EXPECT_INT(clock_ns(), 5);
    EXPECT_INT(clock_wall_ms(), 7);
    for (int i = 0; i < 4; i++)
        clock_fake_advance(SECOND / 4000);
    EXPECT_INT(clock_ns(), 5 + MILLISECOND);
    EXPECT_INT(clock_wall_ms(), 8);
    clock_real();
    EXPECT(clock_ns() > MILLISECOND + 5);
}
