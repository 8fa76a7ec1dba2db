"""Invented people and things that a small shop hears and says."""

from __future__ import annotations

PAGE_NAME = "Tiệm Hoa Nắng"

FAMILY_NAMES = ("Nguyễn", "Trần", "Lê", "Phạm", "Huỳnh", "Võ", "Đặng", "Bùi", "Đỗ", "Ngô")
MIDDLE_NAMES = ("Thị", "Văn", "Ngọc", "Minh", "Thu", "Quốc", "Hồng", "Gia")
GIVEN_NAMES = ("Ánh", "Bảo", "Chi", "Dũng", "Hằng", "Khánh", "Lộc", "Mỹ", "Oanh", "Phượng", "Yến")

STAFF = ("Mai Thử Nghiệm", "Tùng Thử Nghiệm", "Vy Thử Nghiệm")

CUSTOMER_SAYS = (
    "Shop ơi, còn size M không ạ?",
    "Giá bao nhiêu vậy shop?",
    "Cho mình xin thêm hình thật với 😍",
    "Ship về Đà Nẵng hết bao nhiêu ạ",
    "Mình đặt 2 cái màu đỏ & 1 cái màu xanh nhé",
    "Số mình là 000 000 0012 nha shop",
    "Hàng về chưa shop? Mình đợi từ thứ hai 😢",
    "ok shop",
    "Áo này giặt có phai màu không?\nMình hay giặt máy.",
    "Cảm ơn shop nhiều ❤️",
    "Size < M thì có không?",
    "Địa chỉ: số 0, đường Thử Nghiệm, phường Mẫu",
    "🙏🏼",
    "Cho em đổi sang size L được không ạ, em mặc hơi chật",
)

SHOP_SAYS = (
    "Dạ còn ạ, chị lấy mấy cái để em lên đơn ạ?",
    "Dạ giá 250.000đ/cái, mua 2 tặng 1 đôi tất 🎁",
    "Dạ chị cho em xin số điện thoại và địa chỉ nhận hàng nhé",
    "Em gửi hình chị tham khảo ạ 🌸",
    "Phí ship 30.000đ, đơn từ 500.000đ được freeship ạ",
    "Dạ đơn của chị đang trên đường giao, dự kiến mai nhận được ạ",
    "Shop mở cửa 8h đến 21h mỗi ngày ạ",
    "Cảm ơn chị đã ủng hộ shop 🥰",
    "Dạ mẫu này hết hàng rồi ạ.\nChị xem mẫu <mới> giúp em nhé",
)

REVIEWS = ("Hàng đẹp, giao nhanh ⭐⭐⭐⭐⭐", "Tạm ổn, đóng gói hơi sơ sài", "Sẽ quay lại ủng hộ shop")

TAGS = {
    3: ("Đã chốt đơn", "#4b5577"),
    7: ("Hỏi giá", "#c0392b"),
    9: ("Khách quen", "#27ae60"),
    12: ("Chờ hàng về", "#8e44ad"),
    21: ("Đổi trả", "#d35400"),
    0: ("Mới", "#2980b9"),
}
"""Tag id -> text and colour. Ids are small, have gaps, and 0 is one."""
