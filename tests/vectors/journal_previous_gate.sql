BEGIN TRANSACTION;
CREATE TABLE anchor (
	incarnation INTEGER NOT NULL, 
	seq INTEGER NOT NULL, 
	hash BLOB NOT NULL, 
	PRIMARY KEY (incarnation)
);
CREATE TABLE answer (
	op BLOB NOT NULL, 
	status TEXT NOT NULL, 
	reason TEXT NOT NULL, 
	at TEXT NOT NULL, 
	PRIMARY KEY (op)
)
 WITHOUT ROWID

;
CREATE TABLE granted_document (
	name TEXT NOT NULL, 
	text TEXT NOT NULL, 
	at TEXT NOT NULL, 
	PRIMARY KEY (name)
);
INSERT INTO "granted_document" VALUES('catalogue','{
  "venue": {
    "name": {"ja": "しおさい海浜公園", "en": "Shiosai Seaside Park"},
    "currency": "JPY", "timezone": "Asia/Tokyo", "day_boundary_hour": 4,
    "issuer": {"name": "株式会社しおさい観光", "address": "しおさい市海岸通1-2-3", "phone": "03-0000-0000", "registration": "T9999999999999"}
  },
  "gates": [
    {"gate": "A", "name": {"ja": "ゲート A", "en": "Gate A"}, "products": ["admission", "rides", "athletics"]},
    {"gate": "B", "name": {"ja": "ゲート B", "en": "Gate B"}, "products": ["admission", "rides"]},
    {"gate": "shop", "name": {"ja": "売店", "en": "Shop"}, "products": ["ramune"]}
  ],
  "people": [
    {"person": "adult", "name": {"ja": "大人", "en": "Adult"}, "note": {"ja": "中学生以上", "en": "13 and over"}},
    {"person": "child", "name": {"ja": "小人", "en": "Child"}, "note": {"ja": "4歳〜小学生", "en": "4 to 12"}},
    {"person": "senior", "name": {"ja": "シニア", "en": "Senior"}, "note": {"ja": "65歳から", "en": "65 and over"}},
    {"person": "toddler", "name": {"ja": "幼児", "en": "Toddler"}, "note": {"ja": "3歳以下", "en": "3 and under"}}
  ],
  "products": [
    {"product": "admission", "kind": "admission", "tax_bp": 1000, "picture": "castle",
     "name": {"ja": "入園券", "en": "Park admission"}, "note": {"ja": "きょう一日", "en": "All day today"}},
    {"product": "rides", "kind": "book", "tax_bp": 1000, "picture": "wheel", "coupons": 10, "validity_days": 180,
     "name": {"ja": "のりもの10回券", "en": "10-ride book"}, "note": {"ja": "180日有効", "en": "Valid for 180 days"}},
    {"product": "athletics", "kind": "slot", "tax_bp": 1000, "picture": "zipline",
     "name": {"ja": "森のアスレチック", "en": "Forest athletics"}, "note": {"ja": "時間指定", "en": "Timed entry"}},
    {"product": "ramune", "kind": "goods", "tax_bp": 800, "picture": "ramune",
     "name": {"ja": "名物ラムネ", "en": "Ramune soda"}, "note": {"ja": "売店でお渡し", "en": "Collect at the shop"}}
  ],
  "variants": [
    {"number": 1, "product": "admission", "person": "adult", "price": 1800},
    {"number": 2, "product": "admission", "person": "child", "price": 900},
    {"number": 3, "product": "admission", "person": "senior", "price": 1300},
    {"number": 4, "product": "admission", "person": "toddler", "price": 0},
    {"number": 10, "product": "rides", "price": 3000, "count_max": 5},
    {"number": 20, "product": "athletics", "person": "adult", "price": 1500},
    {"number": 21, "product": "athletics", "person": "child", "price": 1000},
    {"number": 30, "product": "ramune", "price": 216}
  ]
}
','2026-11-22T02:42:51.189759+00:00');
CREATE TABLE granted_key (
	kid BLOB NOT NULL, 
	public BLOB NOT NULL, 
	certificate TEXT NOT NULL, 
	signature BLOB NOT NULL, 
	not_before INTEGER NOT NULL, 
	expires INTEGER NOT NULL, 
	revoked_at INTEGER, 
	PRIMARY KEY (kid)
);
INSERT INTO "granted_key" VALUES(X'00000007',X'EA4A6C63E29C520ABEF5507B132EC5F9954776AEBEBE7B92421EEA691446D22C','{"kid":"00000007","public":"ea4a6c63e29c520abef5507b132ec5f9954776aebebe7b92421eea691446d22c","device":"01010101010101010101010101010101","not_before":1795228971,"expires":1829875371,"tickets_max":100000,"products":[]}',X'BF3BD5A2681BA9A626575FDE41712220E1AD37629A7ABD3D2CB5D31BAF8E16692C841A4BB5EBAF292933B2C1AC95B11A5307F57BBDE43740D974164F20480604',1795228971,1829875371,NULL);
CREATE TABLE granted_lease (
	slot TEXT NOT NULL, 
	product TEXT NOT NULL, 
	starts_at TEXT NOT NULL, 
	ends_at TEXT NOT NULL, 
	capacity INTEGER NOT NULL, 
	quantity INTEGER NOT NULL, 
	free INTEGER NOT NULL, 
	at TEXT NOT NULL, 
	PRIMARY KEY (slot)
);
CREATE TABLE granted_short_block (
	length INTEGER NOT NULL, 
	first INTEGER NOT NULL, 
	last INTEGER NOT NULL, 
	until TEXT, 
	over INTEGER DEFAULT '0' NOT NULL, 
	PRIMARY KEY (length, first)
);
CREATE TABLE meta (
	"key" TEXT NOT NULL, 
	value TEXT NOT NULL, 
	PRIMARY KEY ("key")
);
INSERT INTO "meta" VALUES('device','02020202020202020202020202020202');
INSERT INTO "meta" VALUES('incarnation','1');
INSERT INTO "meta" VALUES('schema','1');
CREATE TABLE operation (
	incarnation INTEGER NOT NULL, 
	seq INTEGER NOT NULL, 
	op BLOB NOT NULL, 
	kind TEXT NOT NULL, 
	body TEXT NOT NULL, 
	hash BLOB NOT NULL, 
	PRIMARY KEY (incarnation, seq), 
	UNIQUE (op)
)
 WITHOUT ROWID

;
INSERT INTO "operation" VALUES(1,1,X'5A5A5A5A5A5A5A5A5A5A5A5A00000003','incarnation','{"op":"5a5a5a5a5a5a5a5a5a5a5a5a00000003","kind":"incarnation","at":"2026-11-22T02:42:51.174372+00:00","reason":"enrolled","previous":null}',X'8168ECE04D39FBC09755E3092228207FFA536DBAE196D907FFD9EDE51E9A07CB');
CREATE TABLE pending (
	op BLOB NOT NULL, 
	ticket BLOB NOT NULL, 
	passage TEXT NOT NULL, 
	units INTEGER NOT NULL, 
	window TEXT NOT NULL, 
	code TEXT, 
	row_known INTEGER NOT NULL, 
	gate TEXT NOT NULL, 
	at TEXT NOT NULL, 
	policy TEXT NOT NULL, 
	attention TEXT, 
	verdict TEXT, 
	reason TEXT, 
	mode TEXT, 
	epoch INTEGER, 
	settled_at TEXT, 
	number TEXT, 
	released INTEGER DEFAULT '0' NOT NULL, 
	interrupted INTEGER DEFAULT '0' NOT NULL, 
	chained INTEGER DEFAULT '0' NOT NULL, 
	PRIMARY KEY (op)
)
 WITHOUT ROWID

;
CREATE TABLE scan_number (
	day TEXT NOT NULL, 
	last INTEGER NOT NULL, 
	PRIMARY KEY (day)
)
 WITHOUT ROWID

;
CREATE TABLE segment (
	incarnation INTEGER NOT NULL, 
	first INTEGER NOT NULL, 
	last INTEGER NOT NULL, 
	"before" BLOB NOT NULL, 
	head BLOB NOT NULL, 
	signature BLOB NOT NULL, 
	PRIMARY KEY (incarnation, first)
)
 WITHOUT ROWID

;
CREATE TABLE short_id_taken (
	length INTEGER NOT NULL, 
	number INTEGER NOT NULL, 
	"order" TEXT NOT NULL, 
	PRIMARY KEY (length, number)
);
CREATE INDEX pending_by_ticket ON pending (ticket);
CREATE INDEX pending_open ON pending (at) WHERE chained = 0;
COMMIT;
