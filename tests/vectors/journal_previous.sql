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
CREATE TABLE claim_number (
	claim TEXT NOT NULL, 
	"order" TEXT NOT NULL, 
	reason TEXT NOT NULL, 
	at TEXT NOT NULL, 
	PRIMARY KEY (claim), 
	UNIQUE ("order")
);
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
','2026-11-22T02:42:50.907710+00:00');
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
INSERT INTO "granted_key" VALUES(X'00000007',X'EA4A6C63E29C520ABEF5507B132EC5F9954776AEBEBE7B92421EEA691446D22C','{"kid":"00000007","public":"ea4a6c63e29c520abef5507b132ec5f9954776aebebe7b92421eea691446d22c","device":"01010101010101010101010101010101","not_before":1795228970,"expires":1829875370,"tickets_max":100000,"products":[]}',X'539E1BF24DD4F765AD7D5D3F0C613BF14531CA6656C96B8AAD2417F3BB645DC82A9107A53A84CAFD8CFC97CBBA0759A2D671CFF5346FDC4E7167D65A6DAA2B05',1795228970,1829875370,NULL);
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
INSERT INTO "granted_lease" VALUES('athletics-202611220342','athletics','2026-11-22T03:42:50.907710+00:00','2026-11-22T04:12:50.907710+00:00',40,20,40,'2026-11-22T02:42:50.907710+00:00');
CREATE TABLE granted_short_block (
	length INTEGER NOT NULL, 
	first INTEGER NOT NULL, 
	last INTEGER NOT NULL, 
	until TEXT, 
	over INTEGER DEFAULT '0' NOT NULL, 
	PRIMARY KEY (length, first)
);
INSERT INTO "granted_short_block" VALUES(6,418000,418999,NULL,0);
INSERT INTO "granted_short_block" VALUES(8,5027000,5027999,NULL,0);
CREATE TABLE meta (
	"key" TEXT NOT NULL, 
	value TEXT NOT NULL, 
	PRIMARY KEY ("key")
);
INSERT INTO "meta" VALUES('device','01010101010101010101010101010101');
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
INSERT INTO "operation" VALUES(1,1,X'5A5A5A5A5A5A5A5A5A5A5A5A00000002','incarnation','{"op":"5a5a5a5a5a5a5a5a5a5a5a5a00000002","kind":"incarnation","at":"2026-11-22T02:42:50.863883+00:00","reason":"enrolled","previous":null}',X'8DDDC9C3A3D6818AE95C2153CECBFE1CF2541A001A3147C187FE144FE9D72E0F');
INSERT INTO "operation" VALUES(1,2,X'77777777777777777777777777777777','sale','{"op":"77777777777777777777777777777777","kind":"sale","at":"2026-11-23T03:00:00+00:00","order":"aaaaaaaaaaaaaaaaaaaa","number":"K2-1123-0001","language":"ja","currency":"JPY","total_minor":1800,"lines":[{"variant":1,"count":1,"unit_minor":1800,"tax_bp":1000,"slot":null}],"tax":[{"tax_bp":1000,"gross_minor":1800,"tax_minor":163}],"paid":{"tender":"card","attempt":"attempt-1","terminal":null,"receipt":"1","trace":null,"brand":null,"masked":null},"tickets":[{"ticket":"cccccccccccccccccccc","kid":"00000007","variant":1,"uses":1,"language":"ja","not_before":1795000000,"expires":1796000000,"short_id":"418001","line":0,"slot":null,"book":null,"part":1,"parts":1}]}',X'93AD3DAE957134FC797894B37756314AFB3694ED8029C862ABA4D009CCC9C979');
CREATE TABLE payment_event (
	attempt_id VARCHAR(64) NOT NULL, 
	n INTEGER NOT NULL, 
	order_ref VARCHAR(64) NOT NULL, 
	state VARCHAR(16) NOT NULL, 
	at VARCHAR(32) NOT NULL, 
	evidence TEXT, 
	boot VARCHAR(64) NOT NULL, 
	PRIMARY KEY (attempt_id, n), 
	CONSTRAINT payment_event_state CHECK (state IN ('intent', 'sent', 'held', 'confirm_sent', 'confirmed', 'declined', 'cancelled', 'not_charged', 'void_sent', 'voided', 'reversal_sent', 'reversed', 'unknown', 'stuck')), 
	CONSTRAINT payment_event_n CHECK (n >= 1)
);
INSERT INTO "payment_event" VALUES('attempt-1',1,'aaaaaaaaaaaaaaaaaaaa','intent','2026-11-22T02:42:51.005987+00:00','{"amount":{"currency":"JPY","minor":1800},"attempt_id":"attempt-1","baseline":{},"deadline_s":90,"method":"card","order_ref":"aaaaaaaaaaaaaaaaaaaa"}','previous');
INSERT INTO "payment_event" VALUES('attempt-1',2,'aaaaaaaaaaaaaaaaaaaa','sent','2026-11-22T02:42:51.015541+00:00',NULL,'previous');
INSERT INTO "payment_event" VALUES('attempt-1',3,'aaaaaaaaaaaaaaaaaaaa','confirmed','2026-11-22T02:42:51.023570+00:00','{"attempt_id":"attempt-1","code":"ok","outcome":"approved_final","receipt_no":1}','previous');
INSERT INTO "payment_event" VALUES('attempt-2',1,'bbbbbbbbbbbbbbbbbbbb','intent','2026-11-22T02:42:51.033950+00:00','{"amount":{"currency":"JPY","minor":1800},"attempt_id":"attempt-2","baseline":{},"deadline_s":90,"method":"card","order_ref":"bbbbbbbbbbbbbbbbbbbb"}','previous');
INSERT INTO "payment_event" VALUES('attempt-2',2,'bbbbbbbbbbbbbbbbbbbb','sent','2026-11-22T02:42:51.050031+00:00',NULL,'previous');
CREATE TABLE print_event (
	id INTEGER NOT NULL, 
	job VARCHAR, 
	seq INTEGER, 
	at VARCHAR NOT NULL, 
	what VARCHAR NOT NULL, 
	detail VARCHAR NOT NULL, 
	PRIMARY KEY (id)
);
CREATE TABLE print_job (
	id VARCHAR NOT NULL, 
	kind VARCHAR NOT NULL, 
	boot VARCHAR NOT NULL, 
	state VARCHAR NOT NULL, 
	created_at VARCHAR NOT NULL, 
	ruled INTEGER NOT NULL, 
	PRIMARY KEY (id), 
	CHECK (ruled IN (0, 1))
);
INSERT INTO "print_job" VALUES('aaaaaaaaaaaaaaaaaaaa-tickets','tickets','previous','queued','2026-11-23T03:00:00+00:00',1);
CREATE TABLE print_part (
	job VARCHAR NOT NULL, 
	seq INTEGER NOT NULL, 
	document TEXT NOT NULL, 
	sha256 VARCHAR NOT NULL, 
	state VARCHAR NOT NULL, 
	try INTEGER NOT NULL, 
	process_id VARCHAR, 
	grade VARCHAR, 
	PRIMARY KEY (job, seq), 
	FOREIGN KEY(job) REFERENCES print_job (id)
);
INSERT INTO "print_part" VALUES('aaaaaaaaaaaaaaaaaaaa-tickets',1,'{}','','queued',1,NULL,NULL);
CREATE TABLE print_roll (
	one INTEGER NOT NULL CHECK (one = 1), 
	process_id INTEGER NOT NULL, 
	used_dots_203 INTEGER NOT NULL, 
	PRIMARY KEY (one)
);
CREATE TABLE sale_boot (
	one INTEGER NOT NULL CHECK (one = 1), 
	boot VARCHAR NOT NULL, 
	machine VARCHAR NOT NULL, 
	at VARCHAR NOT NULL, 
	PRIMARY KEY (one)
);
CREATE TABLE sale_order (
	"order" TEXT NOT NULL, 
	number TEXT NOT NULL, 
	business_day TEXT NOT NULL, 
	counter INTEGER NOT NULL, 
	language TEXT NOT NULL, 
	body TEXT NOT NULL, 
	at TEXT NOT NULL, 
	PRIMARY KEY ("order"), 
	UNIQUE (number)
);
INSERT INTO "sale_order" VALUES('aaaaaaaaaaaaaaaaaaaa','K2-1123-0001','2026-11-23',1,'ja','{"total_minor": 1800, "currency": "JPY"}','2026-11-23T03:00:00+00:00');
INSERT INTO "sale_order" VALUES('bbbbbbbbbbbbbbbbbbbb','K2-1123-0002','2026-11-23',2,'ja','{"total_minor": 1800, "currency": "JPY"}','2026-11-23T03:00:00+00:00');
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
CREATE TABLE stock_taken (
	"order" TEXT NOT NULL, 
	slot TEXT NOT NULL, 
	count INTEGER NOT NULL, 
	state TEXT NOT NULL, 
	boot TEXT NOT NULL, 
	at TEXT NOT NULL, 
	PRIMARY KEY ("order", slot)
);
CREATE INDEX payment_event_order ON payment_event (order_ref);
CREATE TRIGGER payment_event_no_update BEFORE UPDATE ON payment_event BEGIN SELECT RAISE(ABORT, 'payment rows are only ever appended'); END;
CREATE TRIGGER payment_event_no_delete BEFORE DELETE ON payment_event BEGIN SELECT RAISE(ABORT, 'payment rows are only ever appended'); END;
CREATE INDEX stock_taken_by_slot ON stock_taken (slot);
CREATE INDEX sale_order_by_day ON sale_order (business_day, counter);
CREATE INDEX print_part_open ON print_part (state) WHERE state IN ('queued', 'sending', 'in_doubt', 'reissued', 'unprintable');
COMMIT;
